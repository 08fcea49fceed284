/** Names of the helpers of ARM64 instructions that are no vector operations; `H` numbers them for the lifter. */
export const enum H {
  UNDEFINED = 0,
  FP_TRAP,
  SVC,
  HVC,
  SMC,
  BRK,
  HLT,
  ERET,
  WFI,
  WFE,
  MRS,
  MSR,
  SYS,
  SYSREG_TRAP,
  MSR_SPSEL,
  MSR_PAN,
  MSR_UAO,
  DC_ZVA,
  CRC32,
  LD_MULTIPLE,
  ST_MULTIPLE,
  DENIED,
}
export const HELPER_NAMES: readonly string[] = [
  'undefined', 'fp.trap', 'svc', 'hvc', 'smc', 'brk', 'hlt', 'eret', 'wfi', 'wfe', 'mrs', 'msr', 'sys', 'sysreg.trap',
  'msr.spsel', 'msr.pan', 'msr.uao', 'dc.zva', 'crc32', 'ld.multiple', 'st.multiple', 'denied',
];
