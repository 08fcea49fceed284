/** One error class for everything users can meet; `code` is stable and documented. */
export class VmxError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'VmxError';
    this.code = code;
  }
}

/** Bad input from the user: the CLI prints the message alone and ends with status 2. */
export class UsageError extends VmxError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_USAGE', message, options);
    this.name = 'UsageError';
  }
}
