/** QMP commands about drives (QEMU QMP Reference Manual, "Block devices"). Drives go by their names, as `device` or as `id`. */
import type { ImageFormat } from '../../block/formats.js';
import { IMAGE_FORMATS } from '../../block/formats.js';
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import { ControlError } from '../error.js';
import type { Args, ArgSpec } from './arguments.js';
import type { QmpCommand } from './commands.js';

const STR: ArgSpec = { type: 'str', optional: true };
const BOOL: ArgSpec = { type: 'bool', optional: true };

function driveOf(a: Args): string {
  const { device, id } = a as { device?: string; id?: string };
  if ((device === undefined) === (id === undefined)) throw new ControlError("Need exactly one of 'device' and 'id'");
  return (device ?? id)!;
}

const force = (a: Args): { force: boolean } => ({ force: a.force === true });

/** Says the event that vm.on('trayMoved') stands for. */
export const trayMoved = (drive: string, open: boolean): Record<string, unknown> => ({ device: drive, id: drive, 'tray-open': open });

export const BLOCK_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  'query-block': { run: (c) => queryBlock(c.vm) },
  eject: { args: { device: STR, id: STR, force: BOOL }, run: (c, a) => c.vm.disks.eject(driveOf(a), force(a)) },
  'blockdev-open-tray': { args: { device: STR, id: STR, force: BOOL }, run: (c, a) => c.vm.disks.openTray(driveOf(a), force(a)) },
  'blockdev-close-tray': { args: { device: STR, id: STR }, run: (c, a) => c.vm.disks.closeTray(driveOf(a)) },
  'blockdev-remove-medium': {
    args: { id: { type: 'str' } },
    run: async (c, a) => {
      const d = (await c.vm.disks.list()).find((x) => x.id === a.id);
      if (d !== undefined && d.media === 'cdrom' && !d.open) throw new ControlError(`Tray of device '${d.id}' is not open`);
      await c.vm.disks.eject(a.id as string);
    },
  },
  'blockdev-change-medium': {
    args: { device: STR, id: STR, filename: { type: 'str' }, format: { type: 'str', optional: true, values: IMAGE_FORMATS }, force: BOOL, 'read-only-mode': { type: 'str', optional: true, values: ['retain', 'read-only', 'read-write'] } },
    run: (c, a) => {
      const mode = a['read-only-mode'];
      return c.vm.disks.change(driveOf(a), a.filename as string, {
        ...force(a), format: a.format as ImageFormat | undefined, readonly: mode === undefined || mode === 'retain' ? undefined : mode === 'read-only',
      });
    },
  },
};

async function queryBlock(vm: VirtualMachine): Promise<unknown[]> {
  return (await vm.disks.list()).map((d) => ({
    device: d.id,
    qdev: d.id,
    type: 'unknown',
    removable: d.removable,
    locked: d.locked,
    ...(d.media === 'cdrom' ? { tray_open: d.open } : {}),
    ...(d.file === null
      ? {}
      : {
          inserted: {
            file: d.file, 'node-name': d.id, ro: d.readonly, drv: d.format, encrypted: false, image: { filename: d.file, format: d.format, 'virtual-size': d.size }, iops: 0, iops_rd: 0, iops_wr: 0, bps: 0,
            bps_rd: 0, bps_wr: 0, detect_zeroes: 'off', write_threshold: 0, backing_file_depth: 0, cache: { writeback: true, direct: false, 'no-flush': d.snapshot },
          },
        }),
  }));
}
