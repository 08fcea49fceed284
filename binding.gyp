{
  "targets": [
    {
      "target_name": "vmx_accel",
      "sources": [
        "native/addon.cc",
        "native/context_binding.cc",
        "native/file_binding.cc",
        "native/block/file.cc",
        "native/memory/region.cc",
        "native/memory/mapping.cc",
        "native/memory/ahead.cc",
        "native/exec/context.cc",
        "native/exec/guard.cc",
        "native/exec/host.cc",
        "native/accel/vcpu_thread.cc",
        "native/kvm/doorbells.cc",
        "native/net/tap.cc",
        "native/net/tap_binding.cc",
        "native/kvm/kvm.cc",
        "native/kvm/kvm_binding.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "native"],
      "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS"],
      "cflags": ["-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
      "cflags_cc": ["-std=c++17"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "xcode_settings": {
        "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
        "GCC_OPTIMIZATION_LEVEL": "2",
        "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
        "MACOSX_DEPLOYMENT_TARGET": "11.0"
      },
      "msvs_settings": {
        "VCCLCompilerTool": { "AdditionalOptions": ["/std:c++17"] }
      },
      "conditions": [
        ["OS=='linux'", { "libraries": ["-lpthread", "-ldl"] }]
      ]
    }
  ]
}
