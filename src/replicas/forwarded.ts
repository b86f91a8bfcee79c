import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import * as ipaddr from 'ipaddr.js';

/** They concern one connection, not the request (RFC 9110, 7.6.1), or are answered by the balancer (100-continue). */
const ofConnection = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect'],
]);

/** They say where a request ends and for whom it is: whatever `Connection` names, a replica gets them. */
const ofRequest = ['content-length', 'host'];

type IsTrusted = (address: string) => boolean;

/** @param networks addresses, and networks such as 10.0.0.0/8 */
export function trusting(networks: readonly string[] = []): IsTrusted {
  const ranges = networks.map((network) =>
    network.includes('/') ? ipaddr.parseCIDR(network) : rangeOf(ipaddr.process(network)),
  );
  return (text) => {
    if (ranges.length === 0 || !ipaddr.isValid(text)) return false;
    const address = ipaddr.process(text);
    return ranges.some((range) => range[0].kind() === address.kind() && address.match(range));
  };
}

function rangeOf(address: ipaddr.IPv4 | ipaddr.IPv6): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

/**
 * The headers of a request as a replica gets them. `X-Forwarded-For` ends with the address that has sent the request to the
 * balancer. What that client says about others before it counts only from a trusted proxy, and is left out otherwise.
 */
export function forwardedHeaders(request: IncomingMessage, isTrusted: IsTrusted): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = withoutConnection(request.headers);
  // else Node would send the body of a GET or DELETE without any framing
  if (request.headers['transfer-encoding'] !== undefined) headers['transfer-encoding'] = 'chunked';
  // HTTP/1.0 needs none, HTTP/1.1, which this is passed on with, does
  if (request.httpVersion === '1.0') headers.host ??= '';
  const peer = request.socket.remoteAddress ?? '';
  const trusted = isTrusted(peer);
  if (!trusted) {
    for (const name of Object.keys(headers)) {
      if (name === 'forwarded' || name.startsWith('x-forwarded-')) delete headers[name];
    }
  }
  const before = headers['x-forwarded-for'];
  headers['x-forwarded-for'] = before === undefined ? peer : `${String(before)}, ${peer}`;
  headers['x-forwarded-proto'] ??= 'http';
  return headers;
}

function withoutConnection(headers: IncomingMessage['headers']): OutgoingHttpHeaders {
  const named = new Set(
    headers.connection
      ?.toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  );
  for (const name of ofRequest) named.delete(name);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !ofConnection.has(name) && !named.has(name)));
}

/** The headers of a response, in the order and spelling in which they came, as [name, value, …]. */
export function returnedHeaders({ rawHeaders, headers }: IncomingMessage): string[] {
  const named = new Set(
    headers.connection
      ?.toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  );
  const kept: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase();
    if (!ofConnection.has(name) && !named.has(name)) kept.push(rawHeaders[at]!, rawHeaders[at + 1]!);
  }
  return kept;
}
