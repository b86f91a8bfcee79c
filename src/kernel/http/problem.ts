import { ApiProperty } from '@nestjs/swagger';

/** One thing that is wrong with the request; `pointer` is a JSON Pointer (RFC 6901) into its body or query. */
export class ProblemDetail {
  @ApiProperty({ example: '/lines/0/quantity' })
  pointer!: string;

  @ApiProperty({ example: 'quantity must not be less than 1' })
  message!: string;
}

/** Body of every error answer: RFC 9457, `application/problem+json`. */
export class Problem {
  /** Stable URI of the kind of problem. */
  @ApiProperty({ example: 'https://orderloom.dev/problems/order-empty' })
  type!: string;

  @ApiProperty({ example: 'Conflict' })
  title!: string;

  @ApiProperty({ example: 409 })
  status!: number;

  /** What went wrong and what to do about it. */
  @ApiProperty({ example: 'An order without lines cannot be submitted: add a line first.' })
  detail!: string;

  @ApiProperty({ example: '/v1/orders/0190…/submit' })
  instance!: string;

  /** For programs; stable. */
  @ApiProperty({ example: 'order-empty' })
  code!: string;

  /** Find the request in the log with it. */
  @ApiProperty({ example: '0198c2f0-7f1e-7d5a-9f43-0b6de4a8c111' })
  traceId!: string;

  /** The first 20 things that are wrong. */
  @ApiProperty({ type: [ProblemDetail], required: false, maxItems: 20 })
  errors?: ProblemDetail[];

  /** How many more there were than the 20 that `errors` or another list holds. */
  @ApiProperty({ type: 'integer', required: false, example: 3 })
  omitted?: number;

  /** For a wrong state: what can be done instead. */
  @ApiProperty({ type: [String], required: false, example: ['addLine', 'cancel'] })
  allowedActions?: string[];
}

/** Refusal of a request as such, before any business rule is asked. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly details: Readonly<Record<string, unknown>> = {},
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}
