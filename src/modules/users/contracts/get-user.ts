import { Query } from '@nestjs/cqrs';

export interface UserCard {
  readonly id: string;
  readonly name: string;
  readonly email: string | null;
  readonly active: boolean;
}

/** Undefined when there is no such user. */
export class GetUser extends Query<UserCard | undefined> {
  constructor(readonly userId: string) {
    super();
  }
}
