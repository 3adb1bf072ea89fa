/** A file imported as an asset: the path at which its bytes can be read (inside the executable: under /$bunfs). */
declare module "*.bin" {
  const path: string;
  export default path;
}
