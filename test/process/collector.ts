import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

type Value = string | number | boolean | readonly Value[];

/** A span as a collector has received it. */
export interface CollectedSpan {
  readonly name: string;
  /** OTLP's number: 2 for a server, 3 for a client, 5 for a consumer. */
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly attributes: Readonly<Record<string, Value>>;
  /** `code` 2 is a failure. */
  readonly status: { readonly code?: number; readonly message?: string };
  readonly resource: Readonly<Record<string, Value>>;
}

interface AnyValue {
  stringValue?: string;
  intValue?: number | string;
  doubleValue?: number;
  boolValue?: boolean;
  arrayValue?: { values: AnyValue[] };
}
type KeyValues = { key: string; value: AnyValue }[];

/** An OpenTelemetry collector on a free port of the loopback interface: OTLP over HTTP, as JSON. */
export class Collector {
  readonly spans: CollectedSpan[] = [];
  /** Of each request, as they came. */
  readonly headers: Record<string, unknown>[] = [];
  private readonly server: Server;

  constructor() {
    this.server = createServer((request, response) => {
      void text(request).then((body) => {
        this.headers.push(request.headers);
        if (request.url === '/v1/traces') this.receive(body);
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
  }

  /** Resolves to what OTEL_EXPORTER_OTLP_ENDPOINT is to be. */
  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private receive(body: string): void {
    for (const { resource, scopeSpans } of JSON.parse(body)['resourceSpans']) {
      for (const { spans } of scopeSpans) {
        for (const { links = [], attributes, ...span } of spans) {
          const of = attributesOf(resource.attributes as KeyValues);
          this.spans.push({ ...span, links, attributes: attributesOf(attributes as KeyValues), resource: of });
        }
      }
    }
  }
}

function attributesOf(pairs: KeyValues = []): Record<string, Value> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, valueOf(value)]));
}

function valueOf({ stringValue, intValue, doubleValue, boolValue, arrayValue }: AnyValue): Value {
  if (arrayValue) return arrayValue.values.map(valueOf);
  return stringValue ?? boolValue ?? Number(intValue ?? doubleValue);
}
