// The shapes that control's API speaks of, as docs and OpenAPI name them.

/**
 * @typedef {object} Device
 * @property {string} id
 * @property {string} key empty: not registered
 * @property {string} [group]
 * @property {number} gen
 * @property {string} [state]
 * @property {"online" | "late" | "unknown"} online
 * @property {string} [last_seen]
 * @property {string} [next]
 * @property {string} [version]
 * @property {string[]} [caps]
 * @property {string} [address]
 * @property {string} [boot]
 * @property {number} prekeys
 * @property {string} [foreign]
 * @property {string} [session]
 * @property {string} [ssh_host_key]
 * @property {string} [rdp_certificate]
 * @property {string} [nat]
 * @property {string[]} [trouble]
 * @property {Check[]} [preflight] in answers about one device
 */

/** @typedef {{check: string, state: string, code?: string, detail?: string}} Check */

/**
 * @typedef {object} DeviceEvents
 * @property {Device[]} devices
 * @property {string[]} gone
 * @property {boolean} reset
 * @property {boolean} [more]
 */

/** @typedef {{stage: string, after_us: number, code?: string, by: "control" | "device" | "node"}} Step */

/** @typedef {{after_s: number, path: string, rtt_us: number, degraded?: boolean}} Sample */

/**
 * @typedef {object} Session
 * @property {string} id
 * @property {string} device
 * @property {string} node
 * @property {string} state
 * @property {string} [stage]
 * @property {Step[]} ladder
 * @property {string} [code]
 * @property {string} [why]
 * @property {string} [path]
 * @property {string} [path_why]
 * @property {{direct_s: number, relay_s: number}} [paths]
 * @property {boolean} [end_to_end]
 * @property {number} [rtt_us]
 * @property {string} [address]
 * @property {{id: string, user: string, ports: string[] | null}[]} operators
 * @property {string} [reason]
 * @property {string} [ticket]
 * @property {boolean} [bare]
 * @property {string} opened
 * @property {string} ends
 * @property {string} [closed]
 * @property {Sample[]} [samples]
 * @property {number} rx
 * @property {number} tx
 * @property {{position: number, for_us: number}} [waiting] for its turn to be woken
 */

/**
 * @typedef {object} GatewayNode
 * @property {string} name
 * @property {string} identity
 * @property {"claimed" | "connected" | "disconnected" | "lost"} state
 * @property {string[] | null} endpoints
 * @property {string} [proof]
 * @property {number} sessions
 * @property {string} [last_seen]
 * @property {string} [version]
 * @property {string} [region]
 * @property {number} [capacity]
 * @property {boolean} [draining]
 * @property {boolean} [moving]
 * @property {number} [leaving]
 */

/**
 * @typedef {object} AuditRow
 * @property {number} id
 * @property {string} at
 * @property {string} who
 * @property {string} what
 * @property {string} [device]
 * @property {string} [session]
 * @property {string} [node]
 * @property {string} [code]
 * @property {number} count
 * @property {string} [detail]
 */

export {};
