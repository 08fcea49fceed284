// The functions of block/file.h in JavaScript: descriptors, offsets and lengths are numbers.
#include "binding.h"
#include "block/file.h"

namespace vmx {

namespace {

/** Arguments from..to must be numbers of bytes, exact integers. */
bool Numbers(const Napi::CallbackInfo& info, size_t count) {
  for (size_t i = 0; i < count; i++) {
    double v = info[i].IsNumber() ? info[i].As<Napi::Number>().DoubleValue() : -1;
    if (!(v >= 0 && v <= 0x1p53) || v != static_cast<double>(static_cast<int64_t>(v))) {
      Throw(info.Env(), "ERR_INVALID_ARG", "descriptor, offset and length are whole numbers");
      return false;
    }
  }
  return true;
}

int64_t Number(const Napi::CallbackInfo& info, size_t i) { return info[i].As<Napi::Number>().Int64Value(); }
int Descriptor(const Napi::CallbackInfo& info) { return static_cast<int>(Number(info, 0)); }

Napi::Value JsLockByte(const Napi::CallbackInfo& info) {
  if (!Numbers(info, 2)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<int>(LockByte(Descriptor(info), Number(info, 1), info[2].ToBoolean())));
}

Napi::Value JsTestByte(const Napi::CallbackInfo& info) {
  if (!Numbers(info, 2)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<int>(TestByte(Descriptor(info), Number(info, 1))));
}

Napi::Value JsZeroRange(const Napi::CallbackInfo& info) {
  if (!Numbers(info, 3)) return info.Env().Undefined();
  return Napi::Boolean::New(info.Env(), ZeroRange(Descriptor(info), Number(info, 1), Number(info, 2), info[3].ToBoolean()));
}

Napi::Value JsSeekExtent(const Napi::CallbackInfo& info) {
  if (!Numbers(info, 2)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<double>(SeekExtent(Descriptor(info), Number(info, 1), info[2].ToBoolean())));
}

}  // namespace

void AddFileFunctions(Napi::Env env, Napi::Object addon) {
  addon.Set("lockByte", Napi::Function::New<JsLockByte>(env, "lockByte"));
  addon.Set("testByte", Napi::Function::New<JsTestByte>(env, "testByte"));
  addon.Set("zeroRange", Napi::Function::New<JsZeroRange>(env, "zeroRange"));
  addon.Set("seekExtent", Napi::Function::New<JsSeekExtent>(env, "seekExtent"));
}

}  // namespace vmx
