/**
 * States of interrupt controllers between the device models and KVM's structures (Linux arch/x86/include/uapi/asm/kvm.h: kvm_lapic_state,
 * kvm_ioapic_state, kvm_pic_state). Byte arrays are the kernel's layout, little-endian.
 */
import type { IoApicState } from '../../devices/irq/ioapic.js';
import { IOAPIC_PINS } from '../../devices/irq/ioapic.js';
import type { ChipState, I8259State } from '../../devices/irq/i8259.js';
import type { LapicState } from '../../devices/irq/lapic-state.js';
import { timerDivisor } from '../../devices/irq/lapic-timer.js';
import { ApicBase, LAPIC_VERSION, LapicReg, Lvt, LVT_WRITABLE, LvtBit, TimerMode } from '../../devices/irq/lapic.spec.js';

export const LAPIC_BYTES = 0x400;
export const IOAPIC_BYTES = 216;
export const PIC_BYTES = 16;

const x2 = (baseLo: number): boolean => (baseLo & (ApicBase.EN | ApicBase.EXTD)) === (ApicBase.EN | ApicBase.EXTD);
const SETS = [[LapicReg.ISR, 'isr'], [LapicReg.TMR, 'tmr'], [LapicReg.IRR, 'irr']] as const;

/** Fills struct kvm_lapic_state. IDs are in the format of KVM_X2APIC_API_USE_32BIT_IDS. @param count what the timer's current count reads */
export function putLapic(s: LapicState, count: number, out: Int32Array): void {
  const put = (reg: number, v: number): void => void (out[reg >> 2] = v);
  out.fill(0);
  put(LapicReg.ID, x2(s.baseLo) ? s.id : s.id << 24);
  put(LapicReg.VERSION, LAPIC_VERSION);
  put(LapicReg.TPR, s.tpr);
  put(LapicReg.LDR, s.ldr);
  put(LapicReg.DFR, s.dfr);
  put(LapicReg.SVR, s.svr);
  for (const [reg, name] of SETS) for (let i = 0; i < 8; i++) put(reg + i * 16, s[name][i]!);
  put(LapicReg.ESR, s.esr);
  put(LapicReg.ICR_LO, s.icrLo);
  put(LapicReg.ICR_HI, s.icrHi);
  for (let n = 0; n < Lvt.COUNT; n++) put(LapicReg.LVT_TIMER + n * 16, n === (Lvt.TIMER as number) ? s.timer.lvt : s.lvt[n]!);
  // A count that has run out would run out again.
  put(LapicReg.TIMER_INITIAL, s.timer.spent ? 0 : s.timer.initial);
  put(LapicReg.TIMER_CURRENT, s.timer.spent ? 0 : count);
  put(LapicReg.TIMER_DIVIDE, s.timer.divide);
}

export interface LapicExtras {
  /** IA32_APIC_BASE and TSC_DEADLINE. */
  baseLo: number;
  baseHi: number;
  deadlineLo: number;
  deadlineHi: number;
  /** Guest time, ns. */
  now: number;
}

/** @param old what `putLapic` was given: what the kernel does not have is taken from there */
export function getLapic(data: Int32Array, x: LapicExtras, old: LapicState): LapicState {
  const reg = (r: number): number => data[r >> 2]! >>> 0;
  const set = (first: number): Int32Array => Int32Array.from({ length: 8 }, (_, i) => data[(first >> 2) + i * 4]!);
  const entry = (n: number): number => reg(LapicReg.LVT_TIMER + n * 16) & (LVT_WRITABLE[n]! | (n === (Lvt.LINT0 as number) ? LvtBit.REMOTE_IRR : 0));
  const lvt = entry(Lvt.TIMER);
  const mode: TimerMode = (lvt >> 17) & 3;
  const divide = reg(LapicReg.TIMER_DIVIDE) & 0xb;
  let initial = reg(LapicReg.TIMER_INITIAL);
  const current = Math.min(reg(LapicReg.TIMER_CURRENT), initial);
  const spent = mode === TimerMode.PERIODIC ? initial === 0 : current === 0;
  // It was told of no count that had run out.
  if (initial === 0 && old.timer.spent) initial = old.timer.initial;
  const deadline = mode === TimerMode.TSC_DEADLINE;
  return {
    baseLo: x.baseLo >>> 0, baseHi: x.baseHi >>> 0,
    id: x2(x.baseLo) ? reg(LapicReg.ID) : reg(LapicReg.ID) >>> 24,
    tpr: reg(LapicReg.TPR) & 0xff, ldr: reg(LapicReg.LDR), dfr: reg(LapicReg.DFR), svr: reg(LapicReg.SVR),
    isr: set(LapicReg.ISR), tmr: set(LapicReg.TMR), irr: set(LapicReg.IRR),
    esr: reg(LapicReg.ESR) & 0xff, newErrors: old.newErrors,
    icrLo: reg(LapicReg.ICR_LO), icrHi: reg(LapicReg.ICR_HI),
    lvt: Array.from({ length: Lvt.COUNT }, (_, n) => (n === (Lvt.TIMER as number) ? LvtBit.MASKED : entry(n))),
    timer: {
      lvt, divide, initial: deadline ? 0 : initial, spent: deadline || spent,
      start: deadline || spent ? 0 : Math.max(0, Math.round(x.now - (initial - current) * timerDivisor(divide))),
      deadlineLo: deadline ? x.deadlineLo >>> 0 : 0, deadlineHi: deadline ? x.deadlineHi >>> 0 : 0,
    },
    lint0: old.lint0, lint1: old.lint1, extMessage: old.extMessage,
  };
}

/** Redirection entries: what software sees but for the delivery status. */
const ENTRY = 0x1afff | (1 << 14);
const LEVEL = 1 << 15;
const IOAPIC_BASE = 0xfec0_0000 | 0;

export function putIoApic(s: Readonly<IoApicState>, out: Uint8Array): void {
  const w = new DataView(out.buffer, out.byteOffset, IOAPIC_BYTES);
  w.setInt32(0, IOAPIC_BASE, true);
  w.setInt32(4, 0, true);
  w.setUint32(8, s.select, true);
  w.setUint32(12, s.id, true);
  // Requests: level-triggered inputs that are asserted. An edge has been sent or lost.
  let irr = 0;
  for (let n = 0; n < IOAPIC_PINS; n++) {
    if (s.lo[n]! & LEVEL) irr |= s.pins & (1 << n);
    w.setUint32(24 + n * 8, s.lo[n]!, true);
    w.setUint32(28 + n * 8, s.hi[n]!, true);
  }
  w.setUint32(16, irr, true);
  w.setUint32(20, 0, true);
}

export function getIoApic(data: Uint8Array): Omit<IoApicState, 'pins'> {
  const w = new DataView(data.buffer, data.byteOffset, IOAPIC_BYTES);
  const pins = Array.from({ length: IOAPIC_PINS }, (_, n) => n);
  return { select: w.getUint32(8, true) & 0xff, id: w.getUint32(12, true) & 15, lo: pins.map((n) => w.getUint32(24 + n * 8, true) & ENTRY), hi: pins.map((n) => w.getUint32(28 + n * 8, true)) };
}

/** Fields of struct kvm_pic_state. */
const enum P { LAST_IRR, IRR, IMR, ISR, PRIORITY, BASE, READ_REG, POLL, SPECIAL_MASK, INIT_STATE, AUTO_EOI, ROTATE, SFNM, INIT4, ELCR, ELCR_MASK }
const AEOI = 2;
const SFNM = 0x10;
const IC4 = 1;

export function putPic(s: Readonly<ChipState>, master: boolean, out: Uint8Array): void {
  out[P.LAST_IRR] = s.lines;
  out[P.IRR] = s.irr;
  out[P.IMR] = s.imr;
  out[P.ISR] = s.isr;
  out[P.PRIORITY] = (s.lowest + 1) & 7;
  out[P.BASE] = s.base;
  out[P.READ_REG] = s.readIsr ? 1 : 0;
  out[P.POLL] = s.poll ? 1 : 0;
  out[P.SPECIAL_MASK] = s.specialMask ? 1 : 0;
  // Words left to come are numbered from the second here, from 1 there.
  out[P.INIT_STATE] = s.initStep === 0 ? 0 : s.initStep - 1;
  out[P.AUTO_EOI] = s.icw4 & AEOI ? 1 : 0;
  out[P.ROTATE] = s.rotateAeoi ? 1 : 0;
  out[P.SFNM] = s.icw4 & SFNM ? 1 : 0;
  out[P.INIT4] = s.icw1 & IC4 ? 1 : 0;
  out[P.ELCR] = s.elcr;
  out[P.ELCR_MASK] = master ? 0xf8 : 0xde;
}

/** @param old for the parts of the initialisation words that KVM does not keep */
export function getPic(d: Uint8Array, old: Readonly<ChipState>): ChipState {
  return {
    lines: old.lines, irr: d[P.IRR]!, imr: d[P.IMR]!, isr: d[P.ISR]!, lowest: (d[P.PRIORITY]! + 7) & 7, base: d[P.BASE]! & 0xf8,
    readIsr: d[P.READ_REG] !== 0, poll: d[P.POLL] !== 0, specialMask: d[P.SPECIAL_MASK] !== 0, initStep: d[P.INIT_STATE] === 0 ? 0 : Math.min(4, d[P.INIT_STATE]! + 1),
    icw1: (old.icw1 & ~IC4) | (d[P.INIT4] ? IC4 : 0), icw3: old.icw3, icw4: (old.icw4 & ~(AEOI | SFNM)) | (d[P.AUTO_EOI] ? AEOI : 0) | (d[P.SFNM] ? SFNM : 0),
    rotateAeoi: d[P.ROTATE] !== 0, elcr: d[P.ELCR]!,
  };
}

export const getPics = (master: Uint8Array, slave: Uint8Array, old: Readonly<I8259State>): I8259State => ({ master: getPic(master, old.master), slave: getPic(slave, old.slave) });
