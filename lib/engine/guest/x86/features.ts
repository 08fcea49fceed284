/** CPU features the lifter asks for while it translates, as plain booleans (names as in /proc/cpuinfo; sse3 for pni). */
export class Features {
  readonly bmi1: boolean;
  readonly abm: boolean;
  readonly cet: boolean;

  constructor(readonly names: ReadonlySet<string>) {
    this.bmi1 = names.has('bmi1');
    this.abm = names.has('abm');
    this.cet = names.has('shstk') || names.has('ibt');
  }

  /** @param list features joined by '+' */
  has(list: string): boolean {
    return list === '' || list.split('+').every((f) => this.names.has(f));
  }
}
