import { Injectable, Logger } from '@nestjs/common';
import { Config } from '../../config/config';

export interface Mail {
  readonly to: string;
  readonly subject: string;
  /** Plain text. */
  readonly text: string;
}

/** Port for what is sent to people. An adapter for a mail service extends it and replaces {@link LogMailer}. */
export abstract class Mailer {
  abstract send(mail: Mail): Promise<void>;
}

/** Writes mail to the log, for development. In production it withholds the text, which contains a secret. */
@Injectable()
export class LogMailer extends Mailer {
  private readonly logger = new Logger('Mailer');

  constructor(private readonly config: Config) {
    super();
  }

  async send({ to, subject, text }: Mail): Promise<void> {
    if (this.config.NODE_ENV === 'production') {
      this.logger.warn(`"${subject}" was not sent: no mailer is configured. An administrator can issue the code.`);
    } else {
      this.logger.log(`Mail to ${to}: ${subject}\n${text}`);
    }
  }
}
