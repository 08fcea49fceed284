/** Devices asked for with --device, and virtio devices in general. */
import { IsaDebugExit } from '../../devices/misc/isa-debug-exit.js';
import { PcTestDev, TESTDEV_IRQS, TESTDEV_MEMORY } from '../../devices/misc/pc-testdev.js';
import { PciTestDev } from '../../devices/misc/pci-testdev.js';
import { VmMouse, VMMOUSE_PORT } from '../../devices/input/vmmouse.js';
import { I6300Esb } from '../../devices/misc/i6300esb.js';
import { type PanicEvent, PvPanic, PVPANIC_PORT, PvPanicPci } from '../../devices/misc/pvpanic.js';
import { RamFb, RAMFB_BYTES, RAMFB_FILE } from '../../devices/display/ramfb.js';
import { UsbKeyboard, UsbMouse, UsbTablet } from '../../devices/usb/hid.js';
import { VirtioGpu } from '../../devices/virtio/gpu.js';
import { VirtioBalloon } from '../../devices/virtio/balloon.js';
import { MAX_PORTS, VirtioConsole, VirtioSerial } from '../../devices/virtio/console.js';
import { VirtioKeyboard, VirtioMouse, VirtioTablet } from '../../devices/virtio/input.js';
import { VirtioPci, type VirtioDevice } from '../../devices/virtio/pci-transport.js';
import { VirtioP9 } from '../../devices/virtio/p9.js';
import { HostFolder } from '../../share/host-folder.js';
import { VirtioVsock } from '../../devices/virtio/vsock.js';
import { VirtioRng } from '../../devices/virtio/rng.js';
import { UsageError, VmxError } from '../../errors.js';
import { checkPcDevice, choiceProp, type DeviceOption, intProp, parseDevice } from '../device-options.js';
import { Pc } from './map.js';
import type { BusParts } from './bus-parts.js';
import { Parts } from './parts.js';
import { addIsaSerial } from './serial.js';
import { addUsb } from './usb.js';

/** Puts a virtio device on bus 0, if there is PCI: disks, whose place firmware is told. @returns null without PCI */
export function addVirtio(p: BusParts, name: string, dev: VirtioDevice): VirtioPci | null {
  if (p.slots !== null) {
    p.slots.add(p, name, dev);
    return null;
  }
  return p.addPci(new VirtioPci(name, p.pciHost, p.freeSlot(), p.memory, dev, (s) => p.host.log(s)));
}

/** Puts a virtio device behind a root port, if the board has a free one. */
export function addVirtioExpress(p: BusParts, name: string, dev: VirtioDevice): void {
  if (p.slots !== null) p.slots.add(p, name, dev);
  else p.addExpress((host, slot) => new VirtioPci(name, host, slot, p.memory, dev, (s) => p.host.log(s)));
}

/** @throws UsageError for a device this board cannot have. */
export function addDeviceOptions(p: BusParts): void {
  p.host.config.shares.forEach((s, i) => {
    const folder = new HostFolder(s.path, s.readonly);
    p.onClose.push(() => folder.close());
    addVirtioExpress(p, `virtio-9p${i}`, new VirtioP9(folder, s.tag));
  });
  for (const text of p.host.config.devices) addOption(p, parseDevice(text));
}

function addOption(p: BusParts, o: DeviceOption): void {
  if (p.slots !== null) checkPcDevice(o, p.host.config.machine);
  const add = BUS_DEVICES[o.name];
  if (add !== undefined) {
    add(p, o);
    return;
  }
  const addPc = PC_DEVICES[o.name];
  if (addPc === undefined) throw new VmxError('ERR_INTERNAL', `no part for ${o.name}`);
  if (!(p instanceof Parts)) throw new UsageError(`--device: ${o.name} is not available on this board`);
  addPc(p, o);
}

/** Models for every board, by name; some need its PCI bus. */
export const BUS_DEVICES: Readonly<Record<string, (p: BusParts, o: DeviceOption) => void>> = {
  'virtio-rng': (p) => addVirtioExpress(p, 'virtio-rng', new VirtioRng((dst) => p.host.random(dst))),
  'virtio-console': (p) => addVirtioExpress(p, 'virtio-console', new VirtioConsole((b) => b.forEach((x) => p.host.debugOutput(x)))),
  'virtio-serial': (p, o) => {
    const names = (o.props.ports ?? '').split(':');
    if (names.some((n) => !/^[\x21-\x7e]{1,64}$/.test(n))) throw new UsageError('--device: virtio-serial: ports= needs names of printable characters (example: ports=org.example.a:org.example.b)');
    if (names.length > MAX_PORTS) throw new UsageError(`--device: virtio-serial: no more than ${MAX_PORTS} ports`);
    addVirtioExpress(p, 'virtio-serial', new VirtioSerial(names.map((name) => ({ name, connect: (client) => p.host.port(name, client) }))));
  },
  'virtio-balloon': (p) => {
    if (p.controls.balloon !== null) throw new UsageError('--device: a machine has one virtio-balloon');
    p.controls.balloon = new VirtioBalloon({ release: (pa, bytes) => p.host.releaseRam(pa, bytes), onChange: () => p.controls.onBalloonChange() });
    addVirtioExpress(p, 'virtio-balloon', p.controls.balloon);
  },
  pvpanic: (p, o) => {
    const exit = choiceProp(o, 'action', ['none', 'exit']) === 'exit';
    const onPanic = (e: PanicEvent): void => p.host.panicked(e, exit);
    if (p instanceof Parts && choiceProp(o, 'bus', ['isa', 'pci']) === 'isa') {
      p.memory.mapPorts(PVPANIC_PORT, 1, p.add(new PvPanic(onPanic)).ports);
      p.pvpanicPort = PVPANIC_PORT;
    } else {
      choiceProp(o, 'bus', ['pci']);
      p.addPci(new PvPanicPci('pvpanic-pci', p.pciHost, p.freeSlot(), onPanic));
    }
  },
  i6300esb: (p, o) => {
    const action = choiceProp(o, 'action', ['reset', 'poweroff', 'none']);
    p.addPci(new I6300Esb('i6300esb', p.pciHost, p.freeSlot(), { clock: p.host.clock, onExpired: () => p.host.watchdog(action) }));
  },
  'pci-testdev': (p) => p.addPci(new PciTestDev('pci-testdev', p.pciHost, p.freeSlot())),
  'virtio-vsock': (p, o) => {
    if (p.controls.vsock !== null) throw new UsageError('--device: a machine has one virtio-vsock');
    const cid = intProp(o, 'cid', 3, 0xffff_fffe);
    if (cid < 3) throw new UsageError('--device: virtio-vsock: cid=0 to 2 are not for guests');
    p.controls.vsock = new VirtioVsock(cid);
    addVirtioExpress(p, 'virtio-vsock', p.controls.vsock);
  },
  'virtio-gpu': (p) => {
    const gpu = new VirtioGpu();
    addVirtioExpress(p, 'virtio-gpu', gpu);
    p.pictures.push(gpu);
  },
  ramfb: (p) => {
    if (p.pictures.some((x) => x instanceof RamFb)) throw new UsageError('--device: a machine has one ramfb');
    const fb = p.add(new RamFb(p.memory));
    p.fw.addFile(RAMFB_FILE, new Uint8Array(RAMFB_BYTES), (data) => fb.configure(data));
    p.pictures.push(fb);
  },
  'usb-kbd': (p) => {
    const keyboard = new UsbKeyboard();
    addUsb(p, keyboard, '--device');
    p.input.addKeyboard(keyboard);
  },
  'usb-mouse': (p) => {
    const mouse = new UsbMouse();
    addUsb(p, mouse, '--device');
    p.input.addPointer(mouse, 'USB mouse');
  },
  'usb-tablet': (p) => {
    const tablet = new UsbTablet();
    addUsb(p, tablet, '--device');
    p.input.addTablet(tablet, 'USB tablet');
  },
  'virtio-keyboard': (p) => {
    const keyboard = new VirtioKeyboard();
    addVirtioExpress(p, 'virtio-keyboard', keyboard);
    p.input.addKeyboard(keyboard);
  },
  'virtio-mouse': (p) => {
    const mouse = new VirtioMouse();
    addVirtioExpress(p, 'virtio-mouse', mouse);
    p.input.addPointer(mouse, 'virtio mouse');
  },
  'virtio-tablet': (p) => {
    const tablet = new VirtioTablet();
    addVirtioExpress(p, 'virtio-tablet', tablet);
    p.input.addTablet(tablet, 'virtio tablet');
  },
};

/** Models with ports and ISA interrupts, which only PCs have. */
export const PC_DEVICES: Readonly<Record<string, (p: Parts, o: DeviceOption) => void>> = {
  'isa-debug-exit': (p, o) => {
    p.memory.mapPorts(intProp(o, 'iobase', 0xf4, 0xffff), intProp(o, 'iosize', 4, 8), p.add(new IsaDebugExit({ onExit: (s) => p.host.exit(s) })).ports);
  },
  'isa-serial': addIsaSerial,
  vmmouse: (p) => {
    const m = p.add(new VmMouse(() => p.host.portRegisters(), p.ps2Mouse));
    p.memory.mapPorts(VMMOUSE_PORT, 4, m.ports);
    p.input.addTablet(m, 'vmmouse');
  },
  'pc-testdev': (p) => {
    const m = p.memory;
    const t = p.add(new PcTestDev({ irqs: p.gsi.map((line, n) => (n < 16 ? p.isa[n]! : line)) }));
    m.mapPorts(0xe0, 4, t.echo);
    m.mapPorts(0xe4, 4, t.flush);
    m.mapPorts(0x2000, TESTDEV_IRQS, t.irqPorts);
    m.mapMmio(Pc.TESTDEV, TESTDEV_MEMORY, t.mmio);
  },
};
