import type { Format } from './format';
import { onlineRetail } from './online-retail';
import { shopify } from './shopify';
import { woocommerce } from './woocommerce';

export const formats: readonly Format[] = [onlineRetail, shopify, woocommerce];
