#pragma once
#include <napi.h>

namespace vmx {
namespace kvm {

/** Adds kvmProbe, kvmCreate and hostTsc to the addon. */
void Define(Napi::Env env, Napi::Object addon);

}  // namespace kvm
}  // namespace vmx
