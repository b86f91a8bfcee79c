import { Client } from 'pg';
import { migrate } from '../../../src/kernel/database/migrate';
import { newId } from '../../../src/kernel/ids';
import { aThing, happened, openStore } from '../support';

describe('a database of one’s own', () => {
  it('is all it takes to install and to use the log: nobody needs to be superuser', async () => {
    const admin = new Client({ connectionString: process.env['TEST_POSTGRES_URL'] });
    await admin.connect();
    const name = `owner_${newId().replaceAll('-', '')}`;
    await admin.query(`create role ${name} login password 'secret'`);
    await admin.query(`create database ${name} owner ${name}`);
    const url = Object.assign(new URL(process.env['TEST_POSTGRES_URL']!), {
      pathname: `/${name}`,
      username: name,
      password: 'secret',
    });
    try {
      await migrate(url.href);
      const opened = await openStore(url.href);
      expect(await opened.store.append(aThing(), [happened(1)])).toMatchObject({ status: 'ok', position: 1 });
      await opened.close();
    } finally {
      await admin.query(`drop database ${name} with (force)`);
      await admin.query(`drop role ${name}`);
      await admin.end();
    }
  });
});
