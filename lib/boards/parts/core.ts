/** The devices every PC has: interrupt controllers, timers, keyboard controller, DMA, system control ports, consoles. */
import type { IrqLine } from '../../devices/device.js';
import { I8237 } from '../../devices/dma/i8237.js';
import { I8042 } from '../../devices/input/i8042.js';
import { Ps2Keyboard } from '../../devices/input/ps2-keyboard.js';
import { Ps2Mouse } from '../../devices/input/ps2-mouse.js';
import { ApicBus } from '../../devices/irq/apic-bus.js';
import { I8259 } from '../../devices/irq/i8259.js';
import { IoApic } from '../../devices/irq/ioapic.js';
import { LocalApic } from '../../devices/irq/lapic.js';
import { DebugCon } from '../../devices/misc/debugcon.js';
import { Port61 } from '../../devices/misc/port61.js';
import { Port92 } from '../../devices/misc/port92.js';
import { Uart16550 } from '../../devices/serial/uart16550.js';
import { Hpet } from '../../devices/timer/hpet.js';
import { I8254 } from '../../devices/timer/i8254.js';
import { Mc146818 } from '../../devices/timer/mc146818.js';
import type { PcBoardHost } from '../board.js';
import { Pc } from './map.js';
import type { Parts } from './parts.js';

/** Local APICs, 8259A pair, I/O APIC. Sets gsi, isa and the interrupt sources. */
export function addInterruptControllers(p: Parts): void {
  const h = p.host;
  const m = p.memory;
  const bus = (p.apics = new ApicBus());
  const lapics: LocalApic[] = [];
  const pages = new LapicPages(h, lapics);
  const pic = p.add(new I8259({ out: { set: (level) => lapics[0]!.lint0.set(level) } }));
  for (let i = 0; i < h.config.cpus; i++) {
    lapics.push(
      p.add(
        new LocalApic({
          id: i,
          bsp: i === 0,
          clock: h.clock,
          bus,
          cpu: { onIntrChange: () => h.intrChanged(i), onNmi: () => h.nmi(i), onInit: () => h.init(i), onSipi: (v) => h.sipi(i, v), onSmi: () => h.log('SMI ignored') },
          tsc: {
            khz: h.tscKHz,
            read: (out) => {
              const t = h.tsc(i);
              out.lo = t % 0x1_0000_0000;
              out.hi = Math.floor(t / 0x1_0000_0000);
            },
          },
          extInt: pic,
          x2apic: h.x2apic,
          physBits: h.physBits,
          onBaseChange: (base, enabled) => pages.move(i, enabled ? base : null),
        }),
      ),
    );
  }
  p.interruptSources.push(...lapics);
  const ioapic = p.add(new IoApic({ bus }));
  p.irq = { apics: bus, lapics, ioapic, pic };
  p.gsi = [...ioapic.pins];
  p.isa = pic.irqs.map((line, n) => {
    const pin = ioapic.pins[n === 0 ? 2 : n]!;
    return {
      set(level: boolean): void {
        line.set(level);
        pin.set(level);
      },
    };
  });
  m.mapPorts(0x20, 2, pic.master);
  m.mapPorts(0xa0, 2, pic.slave);
  m.mapPorts(0x4d0, 2, pic.elcr);
  m.mapMmio(Pc.IOAPIC, 0x1000, ioapic.mmio);
  pages.map(Pc.LAPIC);
}

/** The register pages of the local APICs: each CPU may move its own through APIC_BASE. */
class LapicPages {
  /** Where each CPU has its local APIC's registers, null while they are not in memory. */
  private readonly base: (number | null)[] = [];
  private readonly pages = new Set<number>();

  constructor(
    private readonly host: PcBoardHost,
    private readonly lapics: readonly LocalApic[],
  ) {}

  /** A CPU's APIC_BASE has changed. A page once used stays claimed: CPUs that have their APIC elsewhere read ones there. */
  move(i: number, base: number | null): void {
    this.base[i] = base;
    if (base !== null) this.map(base);
  }

  map(base: number): void {
    if (this.pages.has(base)) return;
    if (this.host.memory.pageOffset(base) >= 0) {
      this.host.log(`local APIC at 0x${base.toString(16)} would hide memory: ignored`);
      return;
    }
    this.pages.add(base);
    const here = (): LocalApic | null => {
      const i = this.host.currentCpu();
      return (this.base[i] ?? base) === base ? this.lapics[i]! : null;
    };
    this.host.memory.mapMmio(base, 0x1000, {
      read: (offset, size) => here()?.mmio.read(offset, size) ?? (size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff),
      write: (offset, size, value) => here()?.mmio.write(offset, size, value),
    });
  }
}

/** HPET, 8254 with port 61h, real-time clock with CMOS. */
export function addTimers(p: Parts): void {
  const hpet = p.add(new Hpet({ clock: p.host.clock, gsis: p.gsi, irq0: p.isa[0]!, irq8: p.isa[8]! }));
  p.memory.mapMmio(Pc.HPET, 0x400, hpet.mmio);
  addIntervalTimers(p, hpet.pitIrq0, {
    set: (level) => {
      hpet.rtcIrq8.set(level);
      p.rtcAlarm.set(level);
    },
  });
}

/** 8254 with port 61h, real-time clock with CMOS. */
export function addIntervalTimers(p: Parts, irq0: IrqLine, irq8: IrqLine): void {
  const h = p.host;
  const m = p.memory;
  const pit = p.add(new I8254({ clock: h.clock, irq0 }));
  m.mapPorts(0x40, 4, pit.ports);
  m.mapPorts(0x61, 1, p.add(new Port61({ clock: h.clock, pit })).ports);
  p.rtc = p.add(new Mc146818({ clock: h.clock, wallClock: () => h.wallClock(), irq8 }));
  m.mapPorts(0x70, 2, p.rtc.ports);
}

/** Keyboard controller with keyboard and mouse, DMA controllers, port 92h. */
export function addLegacy(p: Parts): void {
  const h = p.host;
  const m = p.memory;
  const kbd = p.add(new Ps2Keyboard({ clock: h.clock }));
  const mouse = p.add(new Ps2Mouse());
  p.input.addKeyboard(kbd);
  p.input.addPointer(mouse, 'PS/2 mouse');
  p.ps2Mouse = mouse;
  const i8042 = p.add(new I8042({ irq1: p.isa[1]!, irq12: p.isa[12]!, keyboard: kbd, mouse, onReset: () => h.reset(), onA20: (on) => h.setA20(on) }));
  m.mapPorts(0x60, 1, i8042.dataPort);
  m.mapPorts(0x64, 1, i8042.commandPort);
  const dma = (p.dma = p.add(new I8237({ memory: m })));
  m.mapPorts(0x00, 0x10, dma.low);
  m.mapPorts(0xc0, 0x20, dma.high);
  m.mapPorts(0x80, 0x10, dma.pages);
  addPort92(p);
}

/** A20 and fast reset. */
export function addPort92(p: Parts): void {
  const h = p.host;
  p.memory.mapPorts(0x92, 1, p.add(new Port92({ onA20: (on) => h.setA20(on), onReset: () => h.reset() })).ports);
}

/** COM1 and the debug consoles. @returns the serial port. */
export function addConsoles(p: Parts, onRoom: () => void): Uart16550 {
  const h = p.host;
  const m = p.memory;
  const uart = p.add(new Uart16550({ name: 'com1', clock: h.clock, irq: p.isa[4]!, backend: { write: (b) => h.serialOutput(b), onRoom } }));
  m.mapPorts(0x3f8, 8, uart.ports);
  const debugOut = (bytes: Uint8Array): void => bytes.forEach((b) => h.debugOutput(b));
  for (const port of [0xe9, 0x402]) m.mapPorts(port, 1, p.add(new DebugCon({ port, write: debugOut })).ports);
  return uart;
}
