/* The peer of bench/exits-kvm.mjs: the smallest program that serves a vCPU's exits. Prints exits per second.
   loop io|mmio COUNT */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int mmio = strcmp(argv[1], "mmio") == 0;
  long count = atol(argv[2]);
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) return 1;
  uint8_t *ram = mmap(NULL, 0x200000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct kvm_userspace_memory_region slot = {0, 0, 0, 0x200000, (uint64_t)ram};
  ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot);
  int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  struct kvm_run *run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
  struct kvm_sregs s;
  ioctl(cpu, KVM_GET_SREGS, &s);
  struct kvm_segment code = {0, 0xffffffff, 8, 11, 1, 0, 1, 1, 0, 1, 0, 0, 0}, data = {0, 0xffffffff, 16, 3, 1, 0, 1, 1, 0, 1, 0, 0, 0};
  s.cs = code;
  s.ds = s.es = s.fs = s.gs = s.ss = data;
  s.cr0 |= 1;
  ioctl(cpu, KVM_SET_SREGS, &s);
  /* As the other side's guest: out 0f1h,al (or mov eax,[fec01000h]); dec ecx; jnz */
  if (mmio) memcpy(ram + 0x100000, "\xa1\x00\x10\xc0\xfe\x49\x75\xf8", 8);
  else memcpy(ram + 0x100000, "\xe6\xf1\x49\x75\xfb", 5);
  struct kvm_regs g = {.rip = 0x100000, .rflags = 2, .rcx = 0xffffffff};
  ioctl(cpu, KVM_SET_REGS, &g);
  double from = seconds();
  for (long i = 0; i < count; i++) {
    if (ioctl(cpu, KVM_RUN, 0) != 0 || run->exit_reason != (mmio ? KVM_EXIT_MMIO : KVM_EXIT_IO)) return 1;
    if (mmio) memset(run->mmio.data, 0xff, 4);
  }
  printf("%.0f\n", count / (seconds() - from));
  return 0;
}
