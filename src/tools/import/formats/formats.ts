import type { Format } from './format';
import { onlineRetail } from './online-retail';

export const formats: readonly Format[] = [onlineRetail];
