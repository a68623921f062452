/** What a license is worth. */
export type State =
  | 'valid'
  | 'refresh_due'
  | 'in_grace'
  | 'superseded'
  | 'suspended'
  | 'not_yet_valid'
  | 'expired'
  | 'revoked'
  | 'clock_behind'
  | 'invalid';

/** What a license says. Times are Unix seconds. */
export interface Claims {
  iss: string;
  sub: string;
  customer_id: string;
  aud: string;
  iat: number;
  nbf: number;
  exp: number;
  jti: string;
  ver: number;
  plan: string;
  status: string;
  trial: boolean;
  features: string[];
  limits: Record<string, number>;
  paid_until: number;
  grace_until: number;
  refresh_after: number;
  status_list?: { idx: number; uri: string };
  [unknown: string]: unknown;
}

interface Common {
  /** The license. */
  token: string;
  /** The public URL of the issuing server, exactly as in the claim `iss`. */
  issuer: string;
  /** The product, exactly as in the claim `aud`. */
  audience: string;
  /** Unix seconds; this machine's clock unless given. */
  now?: number;
  /** A status list as the server publishes it. */
  statusList?: string;
  /** Refuse a license whose status list is missing or has expired. */
  statusListRequired?: boolean;
  /** The latest time that the product has ever seen. */
  highestTimeSeen?: number;
  /** How far the clock may stand behind a time that has passed, in seconds; a day unless given. */
  clockSkew?: number;
}

/** A plain key set, or a pinned root (`cfroot1:…`) with the key set that it has signed. */
export type Options = Common &
  (
    | { jwks: string | { keys: object[] }; root?: undefined }
    | { jwks?: undefined; root: string; keySet: string; serialSeen?: number }
  );

export interface Answer {
  state: State;
  /** A stable word: the state, or why the license is invalid. */
  code: string;
  /** Whether the product may run. */
  entitled: boolean;
  /** Whether to ask the server for a newer license. */
  shouldRefresh: boolean;
  /** Empty unless entitled. */
  features: string[];
  /** Empty unless entitled. */
  limits: Record<string, number>;
  /** Null unless entitled. */
  plan: string | null;
  /** What the license says, where a trusted key has signed it; that alone entitles to nothing. */
  claims: Claims | null;
}

export function verify(options: Options): Promise<Answer>;

/** Reads a `.lic` file, a bundle or a bare token; nothing is verified. Throws with the code `file_malformed` or `file_too_large`. */
export function parseFile(text: string): { license: string; keySet?: string; statusList?: string };
