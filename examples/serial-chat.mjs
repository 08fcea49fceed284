// Runs shell commands in a guest, one after the other, and prints what they say.
//   node examples/serial-chat.mjs KERNEL INITRD 'COMMAND' ...
import { VirtualMachine } from 'vmx-accel';

const [kernel, initrd, ...commands] = process.argv.slice(2);
const vm = await VirtualMachine.create({ kernel, initrd, append: 'console=ttyS0 quiet', memory: '256M' });
let text = '';
let wake = () => {};
vm.serial.on('data', (chunk) => {
  text += chunk;
  wake();
});
vm.on('end', () => wake());

/** Waits for a match in what has not been read yet, and takes it away. */
async function match(pattern) {
  for (;;) {
    const m = pattern.exec(text);
    if (m) {
      text = text.slice(m.index + m[0].length);
      return m;
    }
    if (vm.state === 'ended') throw new Error(`the machine ended: ${text}`);
    await new Promise((resolve) => (wake = resolve));
  }
}

vm.start();
for (const command of commands) {
  // What is typed before the shell is ready for it would be echoed twice.
  await match(/~ # /);
  // The quotes keep the echo of the typed line from looking like the mark itself.
  vm.serial.write(`${command}; echo "do""ne"\n`);
  await match(/\r\n/);
  const [, output] = await match(/([^]*?)done\r\n/);
  console.log(`${command}\n${output.replaceAll('\r', '').trimEnd()}`);
}
await vm.stop();
