#!/usr/bin/env node
/**
 * The vmx-accel command. As a script, not a module, and with the command line's first part in one file (scripts/bundle.mjs) a process gets to its first
 * statement some 15 ms sooner. In a checkout whose compiler has been there since, the modules are loaded.
 */
import { existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const dist = join(__dirname, '..');
const script = join(dist, 'program', 'main.cjs');
/** ms since 1970; NaN: there is no such file. */
const made = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? NaN;

const isCurrent = existsSync(join(dist, '..', 'tsconfig.json')) ? made(script) >= made(join(dist, '.tsbuildinfo')) : existsSync(script);
if (isCurrent && process.env['VMX_ACCEL_PROGRAM'] !== 'modules') createRequire(__filename)(script);
else void import('./main.js');
