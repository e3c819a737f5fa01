// A message in which what stands between backticks is set as code, as the server and the page write it.

export function Coded({ text }: { text: string }) {
  const parts = text.split("`");
  if (parts.length % 2 === 0) return <>{text}</>; // one that has no other
  return (
    <>
      {parts.map((part, at) => (at % 2 ? <code key={at}>{part}</code> : part))}
    </>
  );
}
