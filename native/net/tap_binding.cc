// The functions of net/tap.h in JavaScript, and frames that arrive as calls from the event loop.
#include <uv.h>

#include <cerrno>
#include <cstring>

#include "binding.h"
#include "net/tap.h"

namespace vmx {

namespace {

/** Frames handed over before the event loop has its turn again. */
constexpr int kBatch = 64;

/** Watches a descriptor until it is closed; libuv's handle outlives it until libuv says so. */
class FrameWatch {
 public:
  FrameWatch(Napi::Env env, int fd, Napi::Uint8Array buffer, Napi::Function callback)
      : env_(env), fd_(fd), buffer_(Napi::Persistent(buffer.As<Napi::Object>())), data_(buffer.Data()), room_(buffer.ByteLength()), callback_(Napi::Persistent(callback)) {}

  bool Start() {
    uv_loop_t* loop = nullptr;
    if (napi_get_uv_event_loop(env_, &loop) != napi_ok || uv_poll_init(loop, &poll_, fd_) != 0) return false;
    started_ = true;
    poll_.data = this;
    return uv_poll_start(&poll_, UV_READABLE, Readable) == 0;
  }

  /** Deletes the watch, now or when libuv has let go of it. */
  void Close() {
    if (closing_) return;
    closing_ = true;
    // JavaScript's values are given up while there is an environment.
    buffer_.Reset();
    callback_.Reset();
    if (!started_) {
      delete this;
      return;
    }
    uv_poll_stop(&poll_);
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_), [](uv_handle_t* h) { delete static_cast<FrameWatch*>(h->data); });
  }

 private:
  static void Readable(uv_poll_t* handle, int, int) { static_cast<FrameWatch*>(handle->data)->Read(); }

  void Read() {
    Napi::HandleScope scope(env_);
    for (int i = 0; i < kBatch && !closing_; i++) {
      int64_t n = ReadFrame(fd_, data_, room_);
      if (n == 0) return;
      // -1: the interface is gone, and nothing follows.
      callback_.MakeCallback(env_.Global(), {Napi::Number::New(env_, static_cast<double>(n))});
      if (env_.IsExceptionPending()) return;
      if (n < 0) {
        if (!closing_) uv_poll_stop(&poll_);
        return;
      }
    }
  }

  Napi::Env env_;
  int fd_;
  uv_poll_t poll_;
  Napi::ObjectReference buffer_;
  uint8_t* data_;
  size_t room_;
  Napi::FunctionReference callback_;
  bool started_ = false;
  bool closing_ = false;
};

Napi::Value JsOpenTap(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsString()) return Throw(env, "ERR_INVALID_ARG", "openTap needs a name");
  int fd = OpenTap(info[0].As<Napi::String>().Utf8Value());
  if (fd >= 0) return Napi::Number::New(env, fd);
  const char* code = fd == -EPERM || fd == -EACCES ? "ERR_PERMISSION" : fd == -EBUSY ? "ERR_BUSY" : fd == -ENOENT || fd == -ENODEV || fd == -ENOSYS ? "ERR_UNSUPPORTED" : "ERR_INVALID_ARG";
  return Throw(env, code, std::strerror(-fd));
}

void OnExit(void* watch) { static_cast<FrameWatch*>(watch)->Close(); }

/** watchFrames(fd, buffer, callback): returns the function that ends it. */
Napi::Value JsWatchFrames(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsNumber() || !info[1].IsTypedArray() || !info[2].IsFunction() || info[1].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    return Throw(env, "ERR_INVALID_ARG", "watchFrames needs a descriptor, a buffer and a function");
  }
  auto* watch = new FrameWatch(env, info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Uint8Array>(), info[2].As<Napi::Function>());
  if (!watch->Start()) {
    watch->Close();
    return Throw(env, "ERR_INVALID_ARG", "not a descriptor that can be watched");
  }
  // A worker that ends without a word.
  napi_add_env_cleanup_hook(env, OnExit, watch);
  bool* open = new bool(true);
  return Napi::Function::New(env, [watch, open](const Napi::CallbackInfo& i) {
    if (!*open) return;
    *open = false;
    napi_remove_env_cleanup_hook(i.Env(), OnExit, watch);
    watch->Close();
  });
}

}  // namespace

void AddNetFunctions(Napi::Env env, Napi::Object addon) {
  addon.Set("openTap", Napi::Function::New<JsOpenTap>(env, "openTap"));
  addon.Set("watchFrames", Napi::Function::New<JsWatchFrames>(env, "watchFrames"));
}

}  // namespace vmx
