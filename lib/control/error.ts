/** A command that cannot be carried out; the classes are QMP's (QEMU Machine Protocol Specification, "Error"). */
export type ErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotFound' | 'DeviceNotActive';

export class ControlError extends Error {
  constructor(
    message: string,
    readonly errorClass: ErrorClass = 'GenericError',
  ) {
    super(message);
  }
}
