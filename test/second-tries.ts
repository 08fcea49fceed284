/**
 * A reporter that names the tests that failed at first and passed when they were run again (`--retry`), with the error of the first time.
 * Each of them is a fault, of the machine or of the test, that somebody has to find.
 */
import { relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';

export default class SecondTries implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    for (const m of modules) {
      for (const t of m.children.allTests('passed')) {
        if (t.diagnostic()?.flaky !== true) continue;
        const error = t.result().errors?.[0]?.message ?? 'no error was kept';
        console.log(`passed at the second try: ${relative(process.cwd(), m.moduleId)} > ${t.fullName}: ${error.split('\n')[0]}`);
      }
    }
  }
}
