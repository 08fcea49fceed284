/** Runs the command line as users do: a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Tests leave the user's caches alone. */
const CACHE_HOME = mkdtempSync(join(tmpdir(), 'vmx-cli-cache-'));
process.once('exit', () => rmSync(CACHE_HOME, { recursive: true, force: true }));

export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  child: ChildProcess;
  /** Resolves when standard output has shown the text. */
  shown(text: string): Promise<void>;
  result: Promise<Result>;
}

/** Starts `vmx-accel ARGS`. Standard input stays open. */
export function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, XDG_CACHE_HOME: CACHE_HOME, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  const waiting: { text: string; done: () => void }[] = [];
  child.stdout.on('data', (d: Buffer) => {
    stdout += d.toString('latin1');
    for (const w of waiting) if (stdout.includes(w.text)) w.done();
  });
  child.stderr.on('data', (d: Buffer) => (stderr += d.toString()));
  const result = new Promise<Result>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });
  return {
    child,
    result,
    shown: (text) =>
      new Promise((resolve, reject) => {
        if (stdout.includes(text)) resolve();
        waiting.push({ text, done: resolve });
        void result.then((r) => reject(new Error(`ended with ${r.status} before '${text}': ${r.stdout}${r.stderr}`)));
      }),
  };
}

/** Runs `vmx-accel ARGS` to its end, with nothing on standard input. */
export function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
  const r = start(args, env);
  r.child.stdin!.end();
  return r.result;
}
