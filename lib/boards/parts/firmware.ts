/** What firmware and kernels find out about the machine: CMOS and fw_cfg. */
import { memoryMap } from '../../boot/e820.js';
import { FwCfg } from '../../devices/firmware/fw-cfg.js';
import type { Parts } from './parts.js';

/** Memory sizes and CPU count in CMOS, as PC firmware reads them. */
export function fillCmos(p: Parts): void {
  const bytes = p.host.config.memory;
  const put16 = (at: number, v: number): void => {
    p.rtc.setNvram(at, v & 0xff);
    p.rtc.setNvram(at + 1, (v >>> 8) & 0xff);
  };
  put16(0x15, 640);
  put16(0x17, Math.min(65535, Math.max(0, (bytes - 0x10_0000) / 1024)));
  put16(0x30, Math.min(65535, Math.max(0, (bytes - 0x10_0000) / 1024)));
  put16(0x34, Math.min(65535, Math.max(0, (bytes - 0x100_0000) / 65536)));
  p.rtc.setNvram(0x5f, p.host.config.cpus - 1);
}

/** The fw_cfg device with what it always has. Further parts may add files (p.fw.addFile). */
export function addFwCfg(p: Parts): void {
  const c = p.host.config;
  p.fw = p.add(new FwCfg({ memory: p.memory, ramSize: c.memory, cpus: c.cpus }));
  p.memory.mapPorts(0x510, 12, p.fw.ports);
  const map = memoryMap(c.memory);
  const e820 = Buffer.alloc(map.length * 20);
  map.forEach((r, i) => {
    e820.writeBigUInt64LE(BigInt(r.base), i * 20);
    e820.writeBigUInt64LE(BigInt(r.length), i * 20 + 8);
    e820.writeUInt32LE(r.type, i * 20 + 16);
  });
  p.fw.addFile('etc/e820', e820);
}
