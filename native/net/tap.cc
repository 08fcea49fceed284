#include "tap.h"

#include <cerrno>
#include <cstring>

#ifdef __linux__
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace vmx {

int OpenTap(const std::string& name) {
  ifreq request;
  std::memset(&request, 0, sizeof request);
  if (name.empty() || name.size() >= IFNAMSIZ) return -EINVAL;
  std::memcpy(request.ifr_name, name.data(), name.size());
  // Frames as they are: no header of the kernel's in front.
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -errno;
  if (ioctl(fd, TUNSETIFF, &request) != 0) {
    int e = errno;
    close(fd);
    return -e;
  }
  return fd;
}

int64_t ReadFrame(int fd, uint8_t* into, size_t room) {
  for (;;) {
    ssize_t n = read(fd, into, room);
    if (n >= 0) return n;
    if (errno == EAGAIN) return 0;
    if (errno != EINTR) return -1;
  }
}

}  // namespace vmx
#else
namespace vmx {

int OpenTap(const std::string&) { return -ENOSYS; }
int64_t ReadFrame(int, uint8_t*, size_t) { return -1; }

}  // namespace vmx
#endif
