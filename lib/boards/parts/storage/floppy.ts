/** `if=floppy`: the floppy controller of a PC, if there are drives, and what CMOS says about them. */
import { I82077 } from '../../../devices/storage/i82077.js';
import { FdcPort } from '../../../devices/storage/i82077.spec.js';
import { FLOPPY_SIZES, FloppyDrive, floppyFormat } from '../../../devices/storage/floppy-drive.js';
import { UsageError } from '../../../errors.js';
import { type PcAttach, pciPath } from '../drive.js';

const IRQ = 6;
/** CMOS: types of drives A (high four bits) and B, and equipment. */
const CMOS_FLOPPIES = 0x10;
const CMOS_EQUIPMENT = 0x14;
const EQUIPMENT_FLOPPY = 0x01;
const EQUIPMENT_SECOND = 0x40;

export const attachFloppy: PcAttach = (p, list) => {
  if (list.length === 0) return;
  const drives = list.map((d) => {
    // An empty drive is one for the usual disks.
    const size = d.media.inserted?.size ?? 1440 * 1024;
    const format = floppyFormat(size);
    if (format === null) throw new UsageError(`${d.config.option}: ${d.config.file}: ${size} bytes is no size of a floppy disk (${FLOPPY_SIZES})`);
    return { format, drive: new FloppyDrive(format.drive, d.media) };
  });
  const fdc = p.add(new I82077({ clock: p.host.clock, irq: p.isa[IRQ]!, dma: p.dma, drives: drives.map((d) => d.drive), log: (m) => p.host.log(m) }));
  p.memory.mapPorts(FdcPort.BASE, 6, fdc.ports);
  p.memory.mapPorts(FdcPort.BASE + FdcPort.DIR, 1, fdc.controlPort);
  const [a, b] = drives;
  p.rtc.setNvram(CMOS_FLOPPIES, ((a?.drive.type ?? 0) << 4) | (b?.drive.type ?? 0));
  p.rtc.setNvram(CMOS_EQUIPMENT, p.equipment | EQUIPMENT_FLOPPY | (b === undefined ? 0 : EQUIPMENT_SECOND));
  p.floppies.push(...drives.map(({ format, drive }) => ({ type: drive.type, tracks: format.tracks, heads: format.heads, sectors: format.sectors })));
  list.forEach((d, i) => (d.bootPath = `${pciPath('isa', p.isaDevfn)}/fdc@03f0/floppy@${i}`));
};
