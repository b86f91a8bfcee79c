import { describeDatabase, parseDatabaseUrl } from '../../src/config/database-url';

const parsed = (url: string) => {
  const { parameters: _parameters, ...rest } = parseDatabaseUrl(url);
  return rest;
};

describe('a database URL', () => {
  const [user, password, database] = ['u', 'p', 'd'];

  it.each([
    ['one host', 'postgres://u:p@h:5433/d', { user, password, database, hosts: [{ host: 'h', port: 5433 }] }],
    ['no port', 'postgresql://u:p@h/d', { user, password, database, hosts: [{ host: 'h' }] }],
    ['nothing but a host', 'postgres://h', { hosts: [{ host: 'h' }] }],
    ['an IPv6 address', 'postgres://[::1]:5433/d', { database, hosts: [{ host: '::1', port: 5433 }] }],
    [
      'percent-encoding',
      'postgres://u%40x:%23%2F%25%3F%C3%A9@h/a%2Fb',
      { user: 'u@x', password: '#/%?é', database: 'a/b', hosts: [{ host: 'h' }] },
    ],
    ['a second @', 'postgres://u:a@b@h/d', { user, password: 'a@b', database, hosts: [{ host: 'h' }] }],
    [
      'several hosts',
      'postgres://u:p@h1:1,h2,[::1]:3/d?target_session_attrs=read-write',
      { user, password, database, hosts: [{ host: 'h1', port: 1 }, { host: 'h2' }, { host: '::1', port: 3 }] },
    ],
    [
      'several hosts as parameters',
      'postgres:///d?host=h1,h2&port=1,2',
      {
        database,
        hosts: [
          { host: 'h1', port: 1 },
          { host: 'h2', port: 2 },
        ],
      },
    ],
    ['a socket', 'postgres:///d?host=/var/run/pg', { database, hosts: [{ host: '/var/run/pg' }] }],
    [
      'a socket with a user and a port',
      'postgres://u:p@/d?host=/run&port=5433',
      { user, password, database, hosts: [{ host: '/run', port: 5433 }] },
    ],
    ['a socket as host', 'postgres://u@%2Frun%2Fpg/d', { user, database, hosts: [{ host: '/run/pg' }] }],
    ['a socket as scheme', 'socket:/run/pg?db=d&port=5433', { database, hosts: [{ host: '/run/pg', port: 5433 }] }],
    [
      'a socket with a user as scheme',
      'socket://u:p@/run/?db=d',
      { user, password, database, hosts: [{ host: '/run' }] },
    ],
  ])('may have %s', (_what, url, expected) => {
    expect(parsed(url)).toEqual(expected);
  });

  it.each([
    ['another scheme', 'mysql://u:secret@h/d', /^must look like postgres:\/\/user/],
    ['no scheme', 'localhost', /^must look like/],
    ['a # in the password', 'postgres://u:secret#1@h/d', /write # as %23/],
    ['a / in the password', 'postgres://u:secret/1@h:5432/d', /write \/ as %2F/],
    ['a ? in the password', 'postgres://u:secret?1@h/d', /\? as %3F/],
    ['a % in the password', 'postgres://u:secret%x@h/d', /write % itself as %25/],
    ['bytes that are not UTF-8', 'postgres://u:secret%FF@h/d', /not UTF-8/],
    ['a blank', 'postgres://u:secret word@h/d', /a space as %20/],
    ['an empty host in a list', 'postgres://u:secret@h,/d', /^must name a host/],
    ['a port that is none', 'postgres://u:secret@h:65536/d', /^must have a port from 1 to 65535/],
    ['a port that is no number', 'postgres://u:secret@h:x/d', /^must have a port/],
    ['more ports than hosts', 'postgres://u:secret@h/d?port=1,2', /^must have one port, or one for each host/],
    ['a parameter without a value', 'postgres://u:secret@h/d?sslmode', /name=value/],
    ['an unknown sslmode', 'postgres://u:secret@h/d?sslmode=on', /sslmode that is not one of disable, /],
    ['a wish for a standby', 'postgres://u:secret@h/d?target_session_attrs=standby', /accepts writes$/],
  ])('is refused for %s, without quoting the password', (_what, url, reason) => {
    expect(() => parseDatabaseUrl(url)).toThrow(reason);
    expect(() => parseDatabaseUrl(url)).not.toThrow(/secret/);
  });

  it('is described by what it leads to', () => {
    expect(describeDatabase('postgres://u:secret@h:5433,[::1]:5432/d')).toBe('d at h:5433 and [::1]:5432');
    expect(describeDatabase('socket:/run/pg?db=d')).toBe('d at /run/pg');
    expect(describeDatabase('postgres://u@/d')).toBe('d');
  });
});
