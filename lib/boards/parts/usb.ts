/** USB: a controller as soon as a device needs one, and devices at its ports. */
import type { UsbDevice } from '../../devices/usb/usb-device.js';
import { Xhci } from '../../devices/usb/xhci.js';
import { USB2_PORTS } from '../../devices/usb/xhci.spec.js';
import { UsageError } from '../../errors.js';
import type { BusParts } from './bus-parts.js';

/** Puts a device at the next port. @returns the controller and the port, from 1 on. @throws UsageError if there is none left; `option` is what asked for it */
export function addUsb(p: BusParts, d: UsbDevice, option: string): { controller: Xhci; port: number } {
  const controller = (p.usb ??= p.addPci(new Xhci('xhci', p.pciHost, p.freeSlot(), { memory: p.memory, clock: p.host.clock, log: (s) => p.host.log(s) })));
  const port = controller.plug(d);
  if (port === null) throw new UsageError(`${option}: all ${USB2_PORTS} USB ports are taken`);
  return { controller, port };
}
