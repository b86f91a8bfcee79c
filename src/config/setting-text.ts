import { Config } from './config';
import { type Setting, settings } from './setting';

/** A setting as a reader sees it. */
export interface DescribedSetting extends Setting {
  /** The default, as it would be written in the environment; empty when the setting has none of its own. */
  readonly preset: string;
  /** All about it in one paragraph: what it is, what it must be and, where that takes words, its default. */
  readonly text: string;
}

export function described(): DescribedSetting[] {
  const presets: Partial<Record<string, Config[keyof Config]>> = { ...new Config() };
  return settings().map((setting) => {
    const { about, details, value, otherwise } = setting;
    const preset = presets[setting.name] ?? '';
    const sentences = [about, `Must be ${value.form}.`, otherwise && `Default: ${otherwise}.`, details];
    return { ...setting, preset: String(preset), text: sentences.filter(Boolean).join(' ') };
  });
}
