import * as ipaddr from 'ipaddr.js';

/** An IPv4 address, or the /64 network of an IPv6 address: a household or a server has as many addresses as it likes. */
export function addressKey(text: string): string {
  // some proxies add the port
  const address = /^\[(.+)\](?::\d+)?$|^([\d.]+):\d+$/.exec(text)?.slice(1).find(Boolean) ?? text;
  if (!ipaddr.isValid(address)) return 'unknown';
  const parsed = ipaddr.process(address);
  return parsed instanceof ipaddr.IPv6
    ? Buffer.from(parsed.toByteArray().slice(0, 8)).toString('hex')
    : parsed.toString();
}
