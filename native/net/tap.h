// Network interfaces of the host that a program is the other end of (Linux TUN/TAP, Documentation/networking/tuntap.rst).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace vmx {

/** Opens an interface that carries Ethernet frames, and makes it if there is none of that name. Does not block. Negative: -errno. */
int OpenTap(const std::string& name);

/** One frame. Returns its bytes, 0 if there is none now, -1 if the interface is gone. */
int64_t ReadFrame(int fd, uint8_t* into, size_t room);

}  // namespace vmx
