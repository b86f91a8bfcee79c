import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { documents } from '../config/documents';

// writes what is written from the declaration of the settings, in the working directory
for (const [path, written] of Object.entries(documents)) {
  const current = existsSync(path) ? readFileSync(path, 'utf8') : '';
  if (written(current) === current) continue;
  writeFileSync(path, written(current));
  console.log(`${path} is written`);
}
