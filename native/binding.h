// Shared by the files that speak Node-API.
#pragma once
#include <napi.h>

#include <memory>

#include "memory/region.h"

namespace vmx {

/** State of one JavaScript environment (the main thread or a worker). */
struct Environment {
  std::shared_ptr<RegionTable> regions = std::make_shared<RegionTable>();
  Napi::FunctionReference error_class;
  Napi::FunctionReference kvm_vm_class;
  Napi::FunctionReference kvm_vcpu_class;
};

/** Throws a VmxError with a stable code. Returns undefined, to be returned to JavaScript. */
Napi::Value Throw(Napi::Env env, const char* code, const std::string& message);

/** The region whose `address` property the argument carries, or null with a pending exception. */
std::shared_ptr<Region> FindRegion(Napi::Env env, Napi::Value memory);

/** { buffer, address } over a mapping, which it takes over. Throws (and unmaps) when no ArrayBuffer can be made. */
Napi::Value WrapMemory(Napi::Env env, uint8_t* base, uint8_t* exec, size_t bytes);

/** createContext(state, exec). */
Napi::Value CreateContext(const Napi::CallbackInfo& info);

/** Adds what image files need (file_binding.cc). */
void AddFileFunctions(Napi::Env env, Napi::Object addon);

/** Adds what network back ends need (net/tap_binding.cc). */
void AddNetFunctions(Napi::Env env, Napi::Object addon);

}  // namespace vmx
