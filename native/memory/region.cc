#include "memory/region.h"

#include "memory/mapping.h"

namespace vmx {

void Region::RemoveUser() {
  users_--;
  if (freed_ && users_ == 0) UnmapNow();
}

void Region::Free() {
  freed_ = true;
  if (users_ == 0) UnmapNow();
}

void Region::UnmapNow() {
  if (exec_) Unmap(exec_, bytes_);
  if (base_) Unmap(base_, bytes_);
  exec_ = nullptr;
  base_ = nullptr;
}

}  // namespace vmx
