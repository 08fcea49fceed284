/** Files that a guest has names for: a tree, so that names stay right when a folder above is renamed. */
import type { Dirent } from 'node:fs';
import type { Path } from '../../../share/host-folder.js';

/** A place below the shared folder. It exists while something refers to it. */
export class Node {
  private readonly children = new Map<string, Node>();
  private users = 0;

  private constructor(
    private parent: Node | null,
    private name: string,
  ) {}

  static top(): Node {
    return new Node(null, '');
  }

  /** This node and the ones above it, up to the top. */
  private *line(): Generator<Node> {
    yield this;
    for (let n = this.parent; n !== null; n = n.parent) yield n;
  }

  private get linked(): boolean {
    return this.parent === null || this.parent.children.get(this.name) === this;
  }

  /** Removed, or replaced by something else: no name leads there. */
  get gone(): boolean {
    for (const n of this.line()) if (!n.linked) return true;
    return false;
  }

  get up(): Node {
    return this.parent ?? this;
  }

  path(): Path {
    return [...this.line()].slice(0, -1).map((n) => n.name).reverse();
  }

  /** The member of that name, whether there is such a file or not. */
  child(name: string): Node {
    const there = this.children.get(name);
    if (there !== undefined) return there;
    const n = new Node(this, name);
    this.children.set(name, n);
    return n;
  }

  use(): this {
    this.count(1);
    return this;
  }

  unuse(): void {
    this.count(-1);
    this.drop();
  }

  private count(users: number): void {
    for (const n of this.line()) n.users += users;
  }

  /** Forgets this node and the ones above it, as far as nobody refers to them. */
  drop(): void {
    for (const n of this.line()) {
      if (n.users > 0 || n.children.size > 0) return;
      n.remove();
    }
  }

  /** The file is no more. */
  remove(): void {
    if (this.linked) this.parent?.children.delete(this.name);
  }

  /** The file is now called `name` in `folder`, in place of what was. */
  move(folder: Node, name: string): void {
    const { users } = this;
    this.remove();
    // Other programs can change the folder so that this comes about: names lead nowhere then.
    for (const n of folder.line()) if (n === this) return;
    folder.children.get(name)?.remove();
    this.parent?.count(-users);
    this.parent = folder;
    this.name = name;
    folder.count(users);
    folder.children.set(name, this);
  }
}

/** What a fid of the guest stands for. */
export interface Fid {
  node: Node;
  /** Descriptor on the host; -1: not open. */
  fd: number;
  /** Open flags as the guest gave them; -1: not open. */
  flags: number;
  folder: boolean;
  /** Members of an open folder, as they were when it was read from its start. */
  entries: readonly Dirent<Buffer>[] | null;
}
