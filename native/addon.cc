// Entry of the addon. The module exports one function, init(VmxError), which returns the NativeAddon of lib/native.ts.
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "binding.h"
#include "exec/context.h"
#include "exec/host.h"
#include "kvm/kvm_binding.h"
#include "memory/ahead.h"
#include "memory/mapping.h"

namespace vmx {

Napi::Value Throw(Napi::Env env, const char* code, const std::string& message) {
  if (env.IsExceptionPending()) return env.Undefined();
  Napi::Object error = env.GetInstanceData<Environment>()->error_class.New(
      {Napi::String::New(env, code), Napi::String::New(env, message)});
  if (!env.IsExceptionPending()) napi_throw(env, error);
  return env.Undefined();
}

std::shared_ptr<Region> FindRegion(Napi::Env env, Napi::Value memory) {
  if (memory.IsObject()) {
    Napi::Value address = memory.As<Napi::Object>().Get("address");
    if (env.IsExceptionPending()) return nullptr;
    if (address.IsNumber()) {
      RegionTable& table = *env.GetInstanceData<Environment>()->regions;
      auto it = table.find(static_cast<uintptr_t>(address.As<Napi::Number>().DoubleValue()));
      if (it != table.end()) return it->second;
    }
  }
  Throw(env, "ERR_INVALID_ARG", "not live memory of this thread");
  return nullptr;
}

namespace {

/** What an ArrayBuffer's finalizer owns. The table is shared because it may run after the environment's data has gone. */
struct Holder {
  std::shared_ptr<RegionTable> table;
  std::shared_ptr<Region> region;
  uintptr_t address;
  /** Set while the buffer is being made: told when the finalizer runs. */
  bool* released;
};

void ReleaseHolder(Holder* holder) {
  auto it = holder->table->find(holder->address);
  // After an explicit free the address may belong to somebody else.
  if (it != holder->table->end() && it->second == holder->region) holder->table->erase(it);
  if (holder->released) *holder->released = true;
  delete holder;
}

void FinalizeBuffer(napi_env, void*, void* hint) { ReleaseHolder(static_cast<Holder*>(hint)); }

}  // namespace

Napi::Value WrapMemory(Napi::Env env, uint8_t* base, uint8_t* exec, size_t bytes) {
  auto region = std::make_shared<Region>(base, exec, bytes);
  auto table = env.GetInstanceData<Environment>()->regions;
  uintptr_t address = region->address();
  bool released = false;
  Holder* holder = new Holder{table, region, address, &released};
  table->emplace(address, region);
  napi_value buffer;
  napi_status status = napi_create_external_arraybuffer(env, base, bytes, FinalizeBuffer, holder, &buffer);
  if (status != napi_ok) {
    // Larger than this Node allows for a buffer, or a runtime (Electron) that forbids external ones.
    if (env.IsExceptionPending()) env.GetAndClearPendingException();
    // Node 20 runs the finalizer when the size is over its limit, other failures do not come so far.
    if (!released) ReleaseHolder(holder);
    region->Free();
    return Throw(env, "ERR_NO_MEMORY",
                 "this JavaScript runtime cannot make an ArrayBuffer over " + std::to_string(bytes) + " bytes");
  }
  holder->released = nullptr;
  Napi::Object result = Napi::Object::New(env);
  result.Set("buffer", Napi::Value(env, buffer));
  result.Set("address", Napi::Number::New(env, static_cast<double>(address)));
  return result;
}

namespace {

/** A positive multiple of the page size; 0 with a pending exception otherwise. */
size_t SizeArgument(const Napi::CallbackInfo& info) {
  double bytes = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : 0;
  // Written so that NaN fails.
  if (bytes > 0 && bytes < 0x1p47 && std::fmod(bytes, static_cast<double>(PageSize())) == 0) {
    return static_cast<size_t>(bytes);
  }
  Throw(info.Env(), "ERR_INVALID_ARG", "size must be a positive multiple of the page size");
  return 0;
}

Napi::Value ThrowMapping(Napi::Env env, MapStatus status, size_t bytes) {
  switch (status) {
    case MapStatus::NoExec:
      return Throw(env, "ERR_NO_EXEC", "the host does not allow executable memory");
    case MapStatus::Unsupported:
      return Throw(env, "ERR_UNSUPPORTED", "executable memory is not supported on this platform");
    default:
      return Throw(env, "ERR_NO_MEMORY", "cannot map " + std::to_string(bytes) + " bytes");
  }
}

template <MapStatus (*map)(size_t, uint8_t**)>
Napi::Value AllocPlain(const Napi::CallbackInfo& info) {
  size_t bytes = SizeArgument(info);
  if (bytes == 0) return info.Env().Undefined();
  uint8_t* base = nullptr;
  MapStatus status = map(bytes, &base);
  if (status != MapStatus::Ok) return ThrowMapping(info.Env(), status, bytes);
  return WrapMemory(info.Env(), base, nullptr, bytes);
}

/** Read from the JavaScript environment: a worker has its own, and getenv races with setenv. */
bool ExecForbidden(Napi::Env env) {
  Napi::Value process = env.Global().Get("process");
  if (!process.IsObject()) return false;
  Napi::Value variables = process.As<Napi::Object>().Get("env");
  if (!variables.IsObject()) return false;
  Napi::Value value = variables.As<Napi::Object>().Get("VMX_ACCEL_NO_EXEC");
  return value.IsString() && value.As<Napi::String>().Utf8Value() == "1";
}

Napi::Value AllocExec(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  size_t bytes = SizeArgument(info);
  if (bytes == 0) return env.Undefined();
  if (ExecForbidden(env)) return Throw(env, "ERR_NO_EXEC", "executable memory is switched off by VMX_ACCEL_NO_EXEC=1");
  uint8_t* rw = nullptr;
  uint8_t* rx = nullptr;
  MapStatus status = MapExec(bytes, info.Length() > 1 && info[1].ToBoolean(), &rw, &rx);
  if (status != MapStatus::Ok) return ThrowMapping(env, status, bytes);
  return WrapMemory(env, rw, rx, bytes);
}

/** Arguments (memory, offset, bytes): page multiples within the memory. The region, or null with a pending exception. */
std::shared_ptr<Region> PagesArgument(const Napi::CallbackInfo& info, const char* who, size_t* offset, size_t* bytes) {
  std::shared_ptr<Region> region = FindRegion(info.Env(), info[0]);
  double o = info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : -1;
  double n = info[2].IsNumber() ? info[2].As<Napi::Number>().DoubleValue() : -1;
  const double page = static_cast<double>(PageSize());
  // Written so that NaN fails.
  bool aligned = std::fmod(o, page) == 0 && std::fmod(n, page) == 0;
  if (!region || !aligned || !(o >= 0) || !(n > 0) || !(o + n <= static_cast<double>(region->bytes()))) {
    Throw(info.Env(), "ERR_INVALID_ARG", std::string(who) + ": not whole pages of a memory");
    return nullptr;
  }
  *offset = static_cast<size_t>(o);
  *bytes = static_cast<size_t>(n);
  return region;
}

/** discard(memory, offset, bytes): not of executable memory. */
Napi::Value DiscardPages(const Napi::CallbackInfo& info) {
  size_t offset, bytes;
  std::shared_ptr<Region> region = PagesArgument(info, "discard", &offset, &bytes);
  if (!region) return info.Env().Undefined();
  if (region->exec()) return Throw(info.Env(), "ERR_INVALID_ARG", "discard: executable memory");
  return Napi::Boolean::New(info.Env(), Discard(region->base() + offset, bytes));
}

Napi::Value BackPagesAhead(const Napi::CallbackInfo& info) {
  size_t offset, bytes;
  std::shared_ptr<Region> region = PagesArgument(info, "backAhead", &offset, &bytes);
  if (region) BackAhead(region->base() + offset, region->exec() ? region->exec() + offset : nullptr, bytes);
  return info.Env().Undefined();
}

Napi::Value Free(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::shared_ptr<Region> region = FindRegion(env, info[0]);
  if (!region) return env.Undefined();
  Napi::Value buffer = info[0].As<Napi::Object>().Get("buffer");
  void* data = nullptr;
  size_t length = 0;
  if (!buffer.IsArrayBuffer() || napi_get_arraybuffer_info(env, buffer, &data, &length) != napi_ok ||
      data != region->base()) {
    return Throw(env, "ERR_INVALID_ARG", "buffer and address do not belong together");
  }
  // Detach first: not one view may be left over memory that goes away.
  if (napi_detach_arraybuffer(env, buffer) != napi_ok) return Throw(env, "ERR_IN_USE", "the buffer cannot be detached");
  env.GetInstanceData<Environment>()->regions->erase(region->address());
  region->Free();
  return env.Undefined();
}

napi_value Now(napi_env env, napi_callback_info) {
  napi_value result;
  napi_create_double(env, static_cast<double>(MonotonicNs()), &result);
  return result;
}

Napi::Value Kick(const Napi::CallbackInfo& info) {
  double id = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : 0;
  return Napi::Boolean::New(info.Env(), id >= 1 && id < 0x1p53 && KickById(id));
}

Napi::Value HostFeatures(const Napi::CallbackInfo& info) {
  std::vector<std::string> names = CpuFeatures();
  Napi::Array result = Napi::Array::New(info.Env(), names.size());
  for (size_t i = 0; i < names.size(); i++) result.Set(static_cast<uint32_t>(i), names[i]);
  return result;
}

Napi::Value HostCpuid(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  uint32_t leaf = info[0].ToNumber().Uint32Value();
  uint32_t subleaf = info[1].IsNumber() ? info[1].As<Napi::Number>().Uint32Value() : 0;
  uint32_t r[4];
  if (!Cpuid(leaf, subleaf, r)) return Throw(env, "ERR_UNSUPPORTED", "this host has no CPUID instruction");
  Napi::Array result = Napi::Array::New(env, 4);
  for (uint32_t i = 0; i < 4; i++) result.Set(i, Napi::Number::New(env, r[i]));
  return result;
}

Napi::Value Memory(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  double total, available;
  if (!HostMemory(&total, &available)) return Throw(env, "ERR_UNSUPPORTED", "the host does not tell its memory size");
  Napi::Object result = Napi::Object::New(env);
  result.Set("total", total);
  result.Set("available", available);
  return result;
}

Napi::Value Init(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsFunction()) {
    Napi::TypeError::New(env, "init needs the error class").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  env.GetInstanceData<Environment>()->error_class = Napi::Persistent(info[0].As<Napi::Function>());
  Napi::Object addon = Napi::Object::New(env);
  addon.Set("allocRam", Napi::Function::New<AllocPlain<MapRam>>(env, "allocRam"));
  addon.Set("allocState", Napi::Function::New<AllocPlain<MapState>>(env, "allocState"));
  addon.Set("allocExec", Napi::Function::New<AllocExec>(env, "allocExec"));
  addon.Set("discard", Napi::Function::New<DiscardPages>(env, "discard"));
  addon.Set("backAhead", Napi::Function::New<BackPagesAhead>(env, "backAhead"));
  addon.Set("free", Napi::Function::New<Free>(env, "free"));
  addon.Set("createContext", Napi::Function::New<CreateContext>(env, "createContext"));
  addon.Set("kick", Napi::Function::New<Kick>(env, "kick"));
  addon.Set("cpuFeatures", Napi::Function::New<HostFeatures>(env, "cpuFeatures"));
  addon.Set("cpuid", Napi::Function::New<HostCpuid>(env, "cpuid"));
  addon.Set("hostMemory", Napi::Function::New<Memory>(env, "hostMemory"));
  AddFileFunctions(env, addon);
  AddNetFunctions(env, addon);
  napi_value now;
  napi_create_function(env, "now", NAPI_AUTO_LENGTH, Now, nullptr, &now);
  addon.Set("now", Napi::Value(env, now));
  kvm::Define(env, addon);
  return addon;
}

Napi::Object InitModule(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment);
  exports.Set("init", Napi::Function::New<Init>(env, "init"));
  return exports;
}

}  // namespace

}  // namespace vmx

static Napi::Object InitAll(Napi::Env env, Napi::Object exports) { return vmx::InitModule(env, exports); }
NODE_API_MODULE(vmx_accel, InitAll)
