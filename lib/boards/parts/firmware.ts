/** What firmware and kernels find out about the machine: CMOS and fw_cfg. */
import { E820, HIGH_RAM, ramLayout, type RamLayout } from '../../boot/e820.js';
import { FwCfg } from '../../devices/firmware/fw-cfg.js';
import type { Parts } from './parts.js';

/** Memory sizes and CPU count in CMOS, as PC firmware reads them. */
export function fillCmos(p: Parts): void {
  const { low, high } = ramLayout(p.host.config.machine, p.host.config.memory);
  const put16 = (at: number, v: number): void => {
    const n = Math.min(65535, Math.max(0, Math.floor(v)));
    p.rtc.setNvram(at, n & 0xff);
    p.rtc.setNvram(at + 1, n >>> 8);
  };
  put16(0x15, 640);
  put16(0x17, (low - 0x10_0000) / 1024);
  put16(0x30, (low - 0x10_0000) / 1024);
  put16(0x34, (low - 0x100_0000) / 65536);
  // Above 4 GiB, in units of 64 KiB: three bytes.
  put16(0x5b, high / 65536);
  p.rtc.setNvram(0x5d, Math.floor(high / 65536) >>> 16);
  p.rtc.setNvram(0x5f, p.host.config.cpus - 1);
}

/** The fw_cfg device with what it always has. Parts that come later may add files (p.fw.addFile). */
export function addFwCfg(p: Parts): void {
  const c = p.host.config;
  p.fw = p.add(new FwCfg({ memory: p.memory, ramSize: c.memory, cpus: c.cpus }));
  p.memory.mapPorts(0x510, 12, p.fw.ports);
  p.fw.addFile('etc/e820', e820(ramLayout(c.machine, c.memory)));
}

/** RAM as the firmware finds it: what it keeps for itself and the legacy hole it knows. */
function e820({ low, high }: RamLayout): Buffer {
  const map = [{ base: 0, length: low }, ...(high > 0 ? [{ base: HIGH_RAM, length: high }] : [])];
  const b = Buffer.alloc(map.length * 20);
  map.forEach((r, i) => {
    b.writeBigUInt64LE(BigInt(r.base), i * 20);
    b.writeBigUInt64LE(BigInt(r.length), i * 20 + 8);
    b.writeUInt32LE(E820.RAM, i * 20 + 16);
  });
  return b;
}
