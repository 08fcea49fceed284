#!/usr/bin/env node
/** The vmx-accel command: what a boot waits for is under way before the command line is looked at. */
import { prestart } from '../machine/worker-start.js';

const ASKS = ['-h', '--help', 'help'];
if (process.argv[2] === 'boot' && !process.argv.some((a) => ASKS.includes(a))) prestart('x86_64');
await import('./program.js');
