// Boots a kernel inside a test and asks it something over the serial console.
//   node examples/boot-in-a-test.mjs KERNEL INITRD
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualMachine } from 'vmx-accel';

const [kernel, initrd] = process.argv.slice(2);

/** Reads the console until `text` appears and returns what came before. */
async function until(serial, text) {
  let seen = '';
  for await (const chunk of serial.iterator({ destroyOnReturn: false })) {
    seen += chunk;
    const at = seen.indexOf(text);
    if (at >= 0) return seen.slice(0, at);
  }
  throw new Error(`the machine ended before '${text}':\n${seen}`);
}

test('the guest can count', async () => {
  const vm = await VirtualMachine.create({ kernel, initrd, append: 'console=ttyS0 quiet', memory: '256M' });
  try {
    vm.start();
    await until(vm.serial, '~ # ');
    vm.serial.write('echo answer=$((6 * 7))\n');
    await until(vm.serial, 'answer=42');
    vm.serial.write('poweroff -f\n');
    const end = await vm.wait();
    assert.equal(end.reason, 'power-off');
  } finally {
    await vm.stop();
  }
});
