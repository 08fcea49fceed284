// Uses a machine like one on a desk: types on its keyboard, reads its screen, and fetches a page from a web server in it.
//   node examples/screen-and-page.mjs KERNEL INITRD [SCREENSHOT.png]     (INITRD with busybox and the virtio network driver)
import { writeFile } from 'node:fs/promises';
import { VirtualMachine } from 'vmx-accel';

const [kernel, initrd, screenshot] = process.argv.slice(2);
const vm = await VirtualMachine.create({ kernel, initrd, append: 'console=tty0 quiet', memory: '256M', vga: 'std', net: ['user'] });
try {
  vm.start();
  await vm.screen.waitForText('~ #', { timeout: 300_000 });
  await vm.keyboard.type('ifconfig eth0 10.0.2.15 up; mkdir /www; echo "hello from $(uname -s)" > /www/index.html\n');
  // In two words, so that what is typed is not mistaken for the answer.
  await vm.keyboard.type('httpd -h /www && echo ser""ving\n');
  await vm.screen.waitForText('serving', { timeout: 60_000 });
  if (screenshot !== undefined) await writeFile(screenshot, await vm.screen.png());

  const port = await vm.net.forward('tcp:127.0.0.1:0-:80');
  const page = await fetch(`http://127.0.0.1:${port}/`);
  console.log(page.status, (await page.text()).trim());
} finally {
  await vm.stop();
}
