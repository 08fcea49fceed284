/** `vmx-accel ui` and `vmx-accel bench` as users run them. */
import { describe, expect, it } from 'vitest';
import { noAddon, skipFor } from '../boot/guests.js';
import { run, start } from './run.js';

describe.skipIf(skipFor(noAddon))('ui', () => {
  it('prints its address, serves its page and ends with the signal', async () => {
    const ui = start(['ui', '--listen', '0']);
    let text = '';
    await new Promise<void>((resolve) => void ui.child.stderr!.on('data', (d: Buffer) => (text += d.toString()).includes('\n') && resolve()));
    const url = /^vmx-accel: machines at (http:\/\/127\.0\.0\.1:\d+\/\?token=[0-9a-f]{32})\n$/.exec(text)?.[1];
    const page = await fetch(url!, { redirect: 'manual' });
    expect(page.status).toBe(302);
    ui.child.kill('SIGINT');
    expect((await ui.result).status).toBe(0);
  });

  it.each([
    [['ui', '--listen', 'nowhere'], "--listen: 'nowhere' is not [HOST:]PORT"],
    [['ui', '--token', '/nosuch'], '--token: ENOENT'],
    [['ui', '--port', '1'], 'unknown option --port'],
  ])('refuses %j', async (args, says) => {
    const r = await run(args);
    expect(r.status).toBe(2);
    expect(r.stderr).toMatch(/^vmx-accel: [^\n]+\n$/);
    expect(r.stderr).toContain(says);
  });
});

describe('bench', () => {
  it('lists the benches, and those alone', async () => {
    const r = await run(['bench']);
    expect(r.status).toBe(0);
    const names = r.stdout.trim().split('\n').map((l) => l.split(/\s/)[0]);
    expect(names).toEqual(expect.arrayContaining(['aot', 'boot', 'compute', 'exits', 'mmu', 'translate', 'virtio']));
    expect(names).not.toContain('metal-bench');
  });

  it('hands arguments and status on', async () => {
    expect(await run(['bench', 'fuzz', '--device', 'all', '--ops', 'many'])).toMatchObject({ status: 2, stderr: expect.stringContaining('ops') as string });
    expect(await run(['bench', 'boott'])).toMatchObject({ status: 2, stderr: "vmx-accel: bench: there is no 'boott' (did you mean boot?); 'vmx-accel bench' lists them\n" });
  });
});
