// The NativeContext object. Its methods use plain Node-API with the context as function data: a wrapper would cost more than
// the whole call.
#include <cmath>

#include "binding.h"
#include "exec/context.h"
#include "exec/layout.h"

namespace vmx {

namespace {

/**
 * Every method of a context object owns a reference, as JavaScript may keep a method and drop the object. The context
 * itself goes with the last one, on dispose(), or when the environment ends, whichever is first.
 */
struct Shell {
  Context* context;
  int references;
  napi_env env;
  bool hooked;
};

void OnEnvironmentEnd(void* data) {
  Shell* shell = static_cast<Shell*>(data);
  shell->hooked = false;
  shell->context->Dispose();
}

void DisposeShell(Shell* shell) {
  if (shell->hooked) {
    napi_remove_env_cleanup_hook(shell->env, OnEnvironmentEnd, shell);
    shell->hooked = false;
  }
  shell->context->Dispose();
}

void DropReference(napi_env, void* data, void*) {
  Shell* shell = static_cast<Shell*>(data);
  if (--shell->references > 0) return;
  DisposeShell(shell);
  delete shell->context;
  delete shell;
}

/** Argument 0 as a number (NaN if it is none) and the shell. */
Shell* GetArgument(napi_env env, napi_callback_info info, double* value) {
  size_t argc = 1;
  napi_value argument;
  void* data;
  napi_get_cb_info(env, info, &argc, &argument, nullptr, &data);
  if (napi_get_value_double(env, argument, value) != napi_ok) *value = std::nan("");
  return static_cast<Shell*>(data);
}

uint64_t ToTime(double ns) {
  if (!(ns > 0)) return 0;
  return ns >= 0x1p63 ? kNever : static_cast<uint64_t>(ns);
}

napi_value Fail(napi_env env, const char* code, const char* message) {
  Throw(Napi::Env(env), code, message);
  return nullptr;
}

napi_value Run(napi_env env, napi_callback_info info) {
  double entry;
  Context* context = GetArgument(env, info, &entry)->context;
  if (!context->CanRun(entry)) {
    return Fail(env, "ERR_INVALID_ARG", "entry is not an address in the context's executable memory");
  }
  napi_value result;
  napi_create_int32(env, context->Run(entry), &result);
  return result;
}

/**
 * The two ways into generated code that are taken a million times a second: no argument to convert and no result, which the code leaves in the state region.
 * They cost half of what Run does.
 */
template <int kWhich>
napi_value Enter(napi_env env, napi_callback_info info) {
  void* data;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  if (static_cast<Shell*>(data)->context->Enter(kWhich)) return nullptr;
  return Fail(env, "ERR_INVALID_ARG", "no entries have been set");
}

napi_value SetEntries(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value arguments[2];
  void* data;
  napi_get_cb_info(env, info, &argc, arguments, nullptr, &data);
  double entries[2] = {std::nan(""), std::nan("")};
  for (int i = 0; i < 2; i++) napi_get_value_double(env, arguments[i], &entries[i]);
  if (static_cast<Shell*>(data)->context->SetEntries(entries)) return nullptr;
  return Fail(env, "ERR_INVALID_ARG", "an entry is not an address in the context's executable memory");
}

napi_value SetDeadline(napi_env env, napi_callback_info info) {
  double ns;
  Context* context = GetArgument(env, info, &ns)->context;
  if (context->disposed()) return nullptr;
  if (!context->SetDeadline(ToTime(ns))) return Fail(env, "ERR_NO_RESOURCE", "cannot start the deadline thread");
  return nullptr;
}

napi_value KickContext(napi_env env, napi_callback_info info) {
  double unused;
  Context* context = GetArgument(env, info, &unused)->context;
  if (!context->disposed()) context->Kick();
  return nullptr;
}

/** Asks Node, which alone knows: an immediate that runs no longer counts there. When in doubt, yes. */
bool HasImmediates(void* argument) {
  Napi::Env env(static_cast<napi_env>(argument));
  Napi::Value process = env.Global().Get("process");
  if (!process.IsObject()) return true;
  Napi::Value query = process.As<Napi::Object>().Get("getActiveResourcesInfo");
  if (!query.IsFunction()) return true;
  Napi::Value answer = query.As<Napi::Function>().Call(process, {});
  if (env.IsExceptionPending()) {
    env.GetAndClearPendingException();
    return true;
  }
  if (!answer.IsArray()) return true;
  Napi::Array resources = answer.As<Napi::Array>();
  // Immediates are listed last.
  for (uint32_t i = resources.Length(); i-- > 0;) {
    Napi::Value name = resources[i];
    if (name.IsString() && name.As<Napi::String>().Utf8Value() == "Immediate") return true;
  }
  return false;
}

napi_value Wait(napi_env env, napi_callback_info info) {
  double ns;
  Context* context = GetArgument(env, info, &ns)->context;
  napi_value result;
  napi_create_int32(env, context->disposed() ? 0 : context->Wait(ToTime(ns), HasImmediates, env), &result);
  return result;
}

napi_value Spin(napi_env env, napi_callback_info info) {
  double ns;
  Context* context = GetArgument(env, info, &ns)->context;
  napi_value result;
  napi_get_boolean(env, !context->disposed() && context->Spin(ToTime(ns)), &result);
  return result;
}

napi_value WatchLoop(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argument;
  void* data;
  napi_get_cb_info(env, info, &argc, &argument, nullptr, &data);
  bool on = false;
  napi_get_value_bool(env, argument, &on);
  Context* context = static_cast<Shell*>(data)->context;
  if (context->disposed()) return nullptr;
  if (!context->WatchLoop(on)) return Fail(env, "ERR_NO_RESOURCE", "cannot watch the event loop");
  return nullptr;
}

napi_value Dispose(napi_env env, napi_callback_info info) {
  double unused;
  DisposeShell(GetArgument(env, info, &unused));
  return nullptr;
}

}  // namespace

Napi::Value CreateContext(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Context::Supported()) return Throw(env, "ERR_UNSUPPORTED", "execution contexts are not supported on this platform");
  std::shared_ptr<Region> state = FindRegion(env, info[0]);
  if (!state) return env.Undefined();
  if (state->exec() || state->bytes() < kMinStateBytes) {
    return Throw(env, "ERR_INVALID_ARG", "state memory is too small or of the wrong kind");
  }
  std::shared_ptr<Region> exec;
  if (!info[1].IsNull() && !info[1].IsUndefined()) {
    exec = FindRegion(env, info[1]);
    if (!exec) return env.Undefined();
    if (!exec->exec()) return Throw(env, "ERR_INVALID_ARG", "not executable memory");
  }
  uv_loop_s* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  Context* context = Context::Create(loop, std::move(state), std::move(exec));
  if (!context) return Throw(env, "ERR_NO_RESOURCE", "cannot create an execution context (out of file descriptors?)");

  Shell* shell = new Shell{context, 1, env, true};
  napi_add_env_cleanup_hook(env, OnEnvironmentEnd, shell);
  static constexpr struct { const char* name; napi_callback callback; } kMethods[] = {
      {"run", Run},   {"setDeadline", SetDeadline}, {"kick", KickContext},
      {"wait", Wait}, {"watchLoop", WatchLoop},     {"dispose", Dispose},
      {"spin", Spin}, {"setEntries", SetEntries},   {"enter", Enter<0>}, {"resume", Enter<1>},
  };
  napi_value object;
  napi_create_object(env, &object);
  for (const auto& method : kMethods) {
    napi_value function;
    napi_create_function(env, method.name, NAPI_AUTO_LENGTH, method.callback, shell, &function);
    shell->references++;
    napi_add_finalizer(env, function, shell, DropReference, nullptr, nullptr);
    napi_set_named_property(env, object, method.name, function);
  }
  napi_value id;
  napi_create_double(env, context->id(), &id);
  napi_set_named_property(env, object, "id", id);
  // The creation's own reference: nothing could be collected before all methods had theirs.
  DropReference(env, shell, nullptr);
  return Napi::Value(env, object);
}

}  // namespace vmx
