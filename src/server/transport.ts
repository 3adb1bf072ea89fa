/**
 * The network as the server sees it: byte streams that are accepted, read by events and written without buffering. Bodies:
 * `bun-transport.ts` (sockets) and the simulator's.
 */
export interface TransportConnection {
  /** "127.0.0.1:51234", "[::1]:51234". */
  readonly remoteAddress: string;
  /** Bytes taken, from the beginning of `bytes`; 0 when there is no room or the connection is gone. The rest is the caller's: `drained` tells when to go on. */
  write(bytes: Uint8Array): number;
  /** No `data` until `resume`. */
  pause(): void;
  resume(): void;
  /** A chunk that `data` brought is not needed any more, nor is any view of it: its memory may be used again now. Without it, and for chunks that are not handed back, the garbage collector does that. */
  recycle?(chunk: Uint8Array): void;
  /** Ends the stream after what was taken by `write`. */
  close(): void;
  /** Ends it at once; what was taken may be lost. */
  terminate(): void;
}

/** What the owner of a connection is told. None of it is called from inside `accept`, `write` or `close`. */
export interface ConnectionEvents {
  /** The chunk belongs to the receiver, who may hand it back early (`recycle`). */
  data(chunk: Uint8Array): void;
  drained(): void;
  /** Once, whoever closed it; nothing comes after. */
  ended(): void;
}

export interface ListenOptions {
  /** "" is every interface. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly backlog: number;
}

export interface AcceptEvents {
  accept(connection: TransportConnection): ConnectionEvents;
  /** New connections wait in the backlog, because this process runs out of something: `reason` says of what. */
  paused(reason: string): void;
  resumed(): void;
}

export interface TransportListener {
  readonly port: number;
  /**
   * While held, new connections wait in the backlog. Also called from inside `accept`: the connection that has come is taken, the next one waits. Missing where
   * nothing bounds connections (the simulator).
   */
  hold?(isHeld: boolean): void;
  /** Accepts no more; open connections stay. */
  close(): void;
}

export interface Transport {
  /** Throws Trouble "listen-port-in-use", "listen-bad-address" or "listen-failed". */
  listen(options: ListenOptions, events: AcceptEvents): TransportListener;
  /** Resolves when connected; rejects when it cannot be. Its events come as those of an accepted connection. */
  connect(host: string, port: number, events: ConnectionEvents): Promise<TransportConnection>;
}
