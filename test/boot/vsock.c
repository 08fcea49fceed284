/* Guest program of the vsock test: `listen PORT` sends back what it gets on one connection, `connect PORT` copies standard input to the
   host and what comes back to standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
#include <unistd.h>

static void copy(int from, int to) {
  char buffer[16384];
  ssize_t n;
  while ((n = read(from, buffer, sizeof buffer)) > 0)
    for (ssize_t done = 0, w; done < n; done += w)
      if ((w = write(to, buffer + done, (size_t)(n - done))) <= 0) exit(3);
}

int main(int argc, char **argv) {
  struct sockaddr_vm a;
  if (argc < 3) return 2;
  memset(&a, 0, sizeof a);
  a.svm_family = AF_VSOCK;
  a.svm_port = (unsigned)strtoul(argv[2], NULL, 0);
  int s = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (s < 0) { perror("socket"); return 1; }
  if (strcmp(argv[1], "listen") == 0) {
    a.svm_cid = VMADDR_CID_ANY;
    if (bind(s, (struct sockaddr *)&a, sizeof a) != 0 || listen(s, 4) != 0) { perror("listen"); return 1; }
    puts("listening");
    fflush(stdout);
    int c = accept(s, NULL, NULL);
    if (c < 0) { perror("accept"); return 1; }
    copy(c, c);
    return 0;
  }
  a.svm_cid = VMADDR_CID_HOST;
  if (connect(s, (struct sockaddr *)&a, sizeof a) != 0) { perror("connect"); return 1; }
  /* At the same time: who sends back what it gets waits until somebody reads. */
  pid_t child = fork();
  if (child < 0) { perror("fork"); return 1; }
  if (child == 0) {
    copy(0, s);
    shutdown(s, SHUT_WR);
    return 0;
  }
  copy(s, 1);
  return 0;
}
