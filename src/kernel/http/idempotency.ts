import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';

export const IDEMPOTENCY_KEY_REQUIRED = 'http:idempotency-key-required';

export const ANSWER_NOT_KEPT = 'http:answer-not-kept';

/** For a POST whose answer has personal data that no key seals: a repeat is carried out again, under the same ids. */
export const AnswerNotKept = () => SetMetadata(ANSWER_NOT_KEPT, true);

export const IDEMPOTENCY_KEY_IGNORED = 'http:idempotency-key-ignored';

/** For a POST with a secret in its body or answer: nothing is stored of either, or derived from it. A repeat is a new request. */
export const IdempotencyKeyIgnored = () => SetMetadata(IDEMPOTENCY_KEY_IGNORED, true);

/** For a POST that moves money or stock: a client that repeats it after a lost answer must not do it twice. */
export const IdempotencyKeyRequired = () =>
  applyDecorators(
    SetMetadata(IDEMPOTENCY_KEY_REQUIRED, true),
    ApiHeader({
      name: 'Idempotency-Key',
      required: true,
      description:
        'Any text of 1 to 255 characters, new for each thing you want done. A repeat with the same key and body does nothing again and gives the same answer.',
      schema: { type: 'string', minLength: 1, maxLength: 255, example: 'my-first-order' },
    }),
  );
