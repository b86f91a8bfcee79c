import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ProblemError } from '../kernel/http/problem';

/** Of all bodies that are being received, together. A body is small (MAX_BODY_BYTES) and as a rule arrives within milliseconds. */
const maxBytes = 64 << 20;

/** What a chunk takes besides its bytes: a Buffer and its place in a list. Makes one-byte chunks count for what they cost. */
const chunkBytes = 512;

/** A body of 1 MiB in chunks of 64 bytes. Network packets are twenty times as large. */
const maxChunks = 16_384;

/**
 * Bounds the memory that unfinished bodies take, however many connections send them and however slowly. When they take
 * more, the one that has been arriving for longest is refused with 503: prompt clients do not notice slow ones.
 */
export function boundBodiesInMemory(fastify: FastifyInstance): void {
  /** Oldest first. */
  const arriving = new Set<FastifyRequest>();
  let total = 0;

  fastify.addHook('preParsing', (request, reply, _payload, done) => {
    const { raw } = request;
    // without a content type there is no body, or one that is refused unread
    if (request.headers['content-type'] === undefined) return done();
    let bytes = 0;
    let chunks = 0;
    const release = () => {
      if (!arriving.delete(request)) return;
      total -= bytes;
      raw.off('data', onData).off('end', release).off('close', release).off('error', release);
    };
    const onData = (chunk: Buffer) => {
      // refused while it was arriving: its bytes are no longer kept
      if (reply.sent) return release();
      bytes += chunk.length + chunkBytes;
      total += chunk.length + chunkBytes;
      if (++chunks > maxChunks) refuse(request, tooManyChunks());
      while (total > maxBytes) {
        const [oldest] = arriving;
        refuse(oldest!, overloaded());
      }
    };
    arriving.add(request);
    raw.on('data', onData).on('end', release).on('close', release).on('error', release);
    done();
  });
}

/** Ends the reading of the body as if it had broken off; the response can still be sent. */
function refuse({ raw }: FastifyRequest, error: ProblemError): void {
  raw.emit('error', error);
}

function tooManyChunks(): ProblemError {
  return new ProblemError(413, 'too-many-chunks', `The body came in more than ${maxChunks} pieces: send larger ones.`);
}

function overloaded(): ProblemError {
  const detail = 'Too many bodies are arriving at once, and this one has taken longest. Try again shortly.';
  return new ProblemError(503, 'overloaded', detail, {}, { 'Retry-After': '2' });
}
