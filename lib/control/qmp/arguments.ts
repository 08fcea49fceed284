/** Checks a command's arguments against its table entry, so that commands can rely on them. */
import { ControlError } from '../error.js';

export type ArgType = 'str' | 'int' | 'number' | 'bool' | 'list' | 'dict';

export interface ArgSpec {
  readonly type: ArgType;
  readonly optional?: boolean;
  /** Allowed values of a string. */
  readonly values?: readonly string[];
}

/** Checked arguments. */
export type Args = Readonly<Record<string, unknown>>;

const NAMES: Readonly<Record<ArgType, string>> = { str: 'string', int: 'integer', number: 'number', bool: 'boolean', list: 'array', dict: 'object' };

function matches(v: unknown, type: ArgType): boolean {
  switch (type) {
    case 'str':
      return typeof v === 'string';
    case 'int':
      return Number.isSafeInteger(v);
    case 'number':
      return typeof v === 'number';
    case 'bool':
      return typeof v === 'boolean';
    case 'list':
      return Array.isArray(v);
    case 'dict':
      return typeof v === 'object' && v !== null && !Array.isArray(v);
  }
}

/** @throws ControlError */
export function checkArgs(given: unknown, spec: Readonly<Record<string, ArgSpec>>, where = ''): Args {
  if (given !== undefined && !matches(given, 'dict')) throw new ControlError("QMP input member 'arguments' must be an object");
  const args = (given ?? {}) as Record<string, unknown>;
  for (const name of Object.keys(args)) if (!Object.hasOwn(spec, name)) throw new ControlError(`Parameter '${where}${name}' is unexpected`);
  for (const [name, s] of Object.entries(spec)) {
    const v = Object.hasOwn(args, name) ? args[name] : undefined;
    if (v === undefined) {
      if (s.optional !== true) throw new ControlError(`Parameter '${where}${name}' is missing`);
      continue;
    }
    if (!matches(v, s.type)) throw new ControlError(`Invalid parameter type for '${where}${name}', expected: ${NAMES[s.type]}`);
    if (s.values !== undefined && !s.values.includes(v as string)) throw new ControlError(`Parameter '${where}${name}' does not accept value '${String(v)}'`);
  }
  return args;
}
